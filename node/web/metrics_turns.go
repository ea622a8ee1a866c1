package web

import "github.com/prometheus/client_golang/prometheus"

// workSubmissions is what the metrics call the submissions that wait to be decided.
const workSubmissions = "submissions"

// turnMetrics are about what callers take turns at, by class of work.
type turnMetrics struct{ running, waiting, turnedAway *prometheus.Desc }

func newTurnMetrics() turnMetrics {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, []string{"work"}, nil) }
	return turnMetrics{
		running: desc("datanode_turns_running", "Calls that have their turn at a class of costly work."),
		waiting: desc("datanode_turns_waiting", "Calls, and submissions, that wait for their turn."),
		turnedAway: desc("datanode_turns_refused_total",
			"Calls, and submissions, refused because as many waited already, of their caller or of all."),
	}
}

func (m *turnMetrics) describe(ch chan<- *prometheus.Desc) {
	ch <- m.running
	ch <- m.waiting
	ch <- m.turnedAway
}

func (m *turnMetrics) collect(now *Numbers, ch chan<- prometheus.Metric) {
	sample := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, work string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, work)
	}
	for work, t := range now.Turns {
		sample(m.running, prometheus.GaugeValue, float64(t.Running), work)
		sample(m.waiting, prometheus.GaugeValue, float64(t.Waiting), work)
		sample(m.turnedAway, prometheus.CounterValue, float64(t.Refused), work)
	}
	sample(m.waiting, prometheus.GaugeValue, float64(now.Submissions.Waiting), workSubmissions)
	sample(m.turnedAway, prometheus.CounterValue, float64(now.Submissions.Refused), workSubmissions)
}
