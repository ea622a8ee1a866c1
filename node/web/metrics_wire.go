package web

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/datanode/datanode/node/transport"
	"github.com/datanode/datanode/node/transport/connlimit"
	"github.com/datanode/datanode/wire/mux"
)

// wireMetrics are about connections. They are counted together by peer, role, direction and protocol, see
// transport.ConnGroup.
type wireMetrics struct {
	connections, received, sent *prometheus.Desc
	stalls, oldest, calls       *prometheus.Desc // of frames

	accepted, limit, noRoom *prometheus.Desc // how full the node is

	offences, turnedAway, waiting *prometheus.Desc // of the machines that hostile connections come from
}

func newWireMetrics() wireMetrics {
	frames := []string{"peer", "role", "direction"}
	every := append(slices.Clone(frames), "protocol")
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return wireMetrics{
		connections: desc("datanode_connections", "Open connections of this node, raft streams among them.", every...),
		received: desc("datanode_wire_received_bytes_total", "Bytes received, on connections that have ended "+
			"too.", every...),
		sent: desc("datanode_wire_sent_bytes_total", "Bytes sent, on connections that have ended too.", every...),
		stalls: desc("datanode_wire_credit_stalls_total", "Times that a sender had to wait for credit, on "+
			"connections that have ended too.", frames...),
		oldest: desc("datanode_wire_oldest_call_seconds", "Age of the oldest call in flight.", frames...),
		calls: desc("datanode_wire_calls_in_flight", "Calls in flight on the open connections.",
			append(slices.Clone(frames), "op")...),

		accepted: desc("datanode_accepted_connections", "Connections that count against a limit on those accepted: "+
			"all, those half open, and as many of each as the IP address has that has most.", "of"),
		limit:  desc("datanode_accepted_connections_limit", "The most that there may be.", "of"),
		noRoom: desc("datanode_connections_refused_total", "Connections closed because there was no room for them."),

		offences: prometheus.NewDesc("datanode_wire_offences_total", "Connections that ended for what their peer did, "+
			"by what that was.",
			[]string{"reason"}, nil),
		turnedAway: prometheus.NewDesc("datanode_wire_turned_away_total",
			"New connections closed at once, because others from the same address had ended for what their peer did.", nil, nil),
		waiting: prometheus.NewDesc("datanode_wire_addresses_waiting", "Addresses whose new connections have to wait "+
			"for that.", nil, nil),
	}
}

func (m *wireMetrics) all() []*prometheus.Desc {
	return []*prometheus.Desc{
		m.connections, m.received, m.sent, m.stalls, m.oldest, m.calls, m.accepted, m.limit, m.noRoom, m.offences,
		m.turnedAway, m.waiting,
	}
}

func (m *wireMetrics) describe(ch chan<- *prometheus.Desc) {
	for _, d := range m.all() {
		ch <- d
	}
}

// wireNow is what the open connections of a group are doing.
type wireNow struct {
	connections int
	oldest      time.Duration
	calls       map[string]int // by operation type
}

func (m *wireMetrics) collect(t *transport.ConnTable, ch chan<- prometheus.Metric) {
	now := map[transport.ConnGroup]*wireNow{}
	for _, c := range t.Scan() {
		g := t.Group(&c)
		if now[g] == nil {
			now[g] = &wireNow{calls: map[string]int{}}
		}
		now[g].add(&c.Stats)
	}
	for g, total := range t.Totals() {
		m.collectGroup(g, total, now[g], ch)
	}
}

func (m *wireMetrics) collectGroup(
	g transport.ConnGroup, total transport.Traffic, now *wireNow, ch chan<- prometheus.Metric,
) {
	frames := []string{g.Peer, string(g.Role), string(g.Direction)}
	every := append(slices.Clone(frames), string(g.Protocol))
	sample := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	if now == nil {
		now = &wireNow{} // all have ended
	}
	sample(m.connections, prometheus.GaugeValue, float64(now.connections), every...)
	sample(m.received, prometheus.CounterValue, float64(total.Received), every...)
	sample(m.sent, prometheus.CounterValue, float64(total.Sent), every...)
	if g.Protocol != transport.ProtocolFrames {
		return
	}
	sample(m.stalls, prometheus.CounterValue, float64(total.Stalls), frames...)
	sample(m.oldest, prometheus.GaugeValue, now.oldest.Seconds(), frames...)
	for op, n := range now.calls {
		sample(m.calls, prometheus.GaugeValue, float64(n), append(slices.Clone(frames), op)...)
	}
}

func (m *wireMetrics) collectCrowd(now connlimit.Crowd, ch chan<- prometheus.Metric) {
	for _, count := range []struct {
		of         string
		now, limit int
	}{
		{"all", now.All, connlimit.MaxConns}, {"half-open", now.Half, connlimit.MaxHalfOpen},
		{"nodes", now.Nodes, connlimit.MaxNodeConns}, {"one-address", now.AllOfOne, connlimit.MaxConnsPerAddr},
		{"half-open-one-address", now.HalfOfOne, connlimit.MaxHalfOpenPerAddr},
	} {
		ch <- prometheus.MustNewConstMetric(m.accepted, prometheus.GaugeValue, float64(count.now), count.of)
		ch <- prometheus.MustNewConstMetric(m.limit, prometheus.GaugeValue, float64(count.limit), count.of)
	}
	ch <- prometheus.MustNewConstMetric(m.noRoom, prometheus.CounterValue, float64(now.Refused))
}

func (m *wireMetrics) collectPenalties(counts connlimit.PenaltyCounts, ch chan<- prometheus.Metric) {
	for _, why := range connlimit.Offences() {
		ch <- prometheus.MustNewConstMetric(m.offences, prometheus.CounterValue, float64(counts.Offences[why]), string(why))
	}
	ch <- prometheus.MustNewConstMetric(m.turnedAway, prometheus.CounterValue, float64(counts.TurnedAway))
	ch <- prometheus.MustNewConstMetric(m.waiting, prometheus.GaugeValue, float64(counts.Waiting))
}

func (s *wireNow) add(stats *mux.Stats) {
	s.connections++
	s.oldest = max(s.oldest, stats.InFlight.OldestAge)
	for kind, n := range stats.InFlight.ByKind {
		op := "other"
		if kind.Op.Known() {
			op = kind.Op.String()
		}
		s.calls[op] += n
	}
}
