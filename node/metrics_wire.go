package node

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/datanode/datanode/wire/mux"
)

// wireMetrics are about the open connections. They are counted together by peer, role and direction, where a
// peer is a node of the cell or one of the others: labels that a stranger can choose would have no bound.
type wireMetrics struct {
	connections, received, sent, stalls, oldest, calls *prometheus.Desc

	offences, turnedAway, waiting *prometheus.Desc // of the machines that hostile connections come from
}

func newWireMetrics() wireMetrics {
	desc := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"peer", "role", "direction"}, more...), nil)
	}
	return wireMetrics{
		connections: desc("datanode_connections", "Open connections of this node."),
		received:    desc("datanode_wire_received_bytes", "Bytes received on the open connections."),
		sent:        desc("datanode_wire_sent_bytes", "Bytes sent on the open connections."),
		stalls:      desc("datanode_wire_credit_stalls", "Times that a sender on the open connections had to wait for credit."),
		oldest:      desc("datanode_wire_oldest_call_seconds", "Age of the oldest call in flight."),
		calls:       desc("datanode_wire_calls_in_flight", "Calls in flight on the open connections.", "op"),

		offences: prometheus.NewDesc("datanode_wire_offences_total", "Connections that ended for what their peer did, by what that was.",
			[]string{"reason"}, nil),
		turnedAway: prometheus.NewDesc("datanode_wire_turned_away_total",
			"New connections closed at once, because others from the same address had ended for what their peer did.", nil, nil),
		waiting: prometheus.NewDesc("datanode_wire_addresses_waiting", "Addresses whose new connections have to wait for that.", nil, nil),
	}
}

func (m *wireMetrics) all() []*prometheus.Desc {
	return []*prometheus.Desc{m.connections, m.received, m.sent, m.stalls, m.oldest, m.calls, m.offences, m.turnedAway, m.waiting}
}

func (m *wireMetrics) describe(ch chan<- *prometheus.Desc) {
	for _, d := range m.all() {
		ch <- d
	}
}

// wireGroup is who the connections of one sample are with.
type wireGroup struct{ peer, role, direction string }

type wireSum struct {
	connections            int
	received, sent, stalls uint64
	oldest                 time.Duration
	calls                  map[string]int // by operation type
}

func (m *wireMetrics) collect(conns []connection, isNode func(string) bool, ch chan<- prometheus.Metric) {
	sums := map[wireGroup]*wireSum{}
	for i := range conns {
		c := &conns[i]
		g := wireGroup{"client", string(c.role), c.direction}
		if isNode(c.peer) {
			g.peer = c.peer
		}
		if sums[g] == nil {
			sums[g] = &wireSum{calls: map[string]int{}}
		}
		sums[g].add(&c.stats)
	}
	for g, sum := range sums {
		gauge := func(d *prometheus.Desc, v float64, more ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{g.peer, g.role, g.direction}, more...)...)
		}
		gauge(m.connections, float64(sum.connections))
		gauge(m.received, float64(sum.received))
		gauge(m.sent, float64(sum.sent))
		gauge(m.stalls, float64(sum.stalls))
		gauge(m.oldest, sum.oldest.Seconds())
		for op, n := range sum.calls {
			gauge(m.calls, float64(n), op)
		}
	}
}

// allOffences are the values of a label, so that each is there from the start.
func allOffences() []offence {
	return []offence{offenceSilent, offencePreamble, offenceHandshake, offenceFrame, offenceMismatch}
}

func (m *wireMetrics) collectStandings(counts standingCounts, ch chan<- prometheus.Metric) {
	for _, why := range allOffences() {
		ch <- prometheus.MustNewConstMetric(m.offences, prometheus.CounterValue, float64(counts.offences[why]), string(why))
	}
	ch <- prometheus.MustNewConstMetric(m.turnedAway, prometheus.CounterValue, float64(counts.turnedAway))
	ch <- prometheus.MustNewConstMetric(m.waiting, prometheus.GaugeValue, float64(counts.waiting))
}

func (s *wireSum) add(stats *mux.Stats) {
	s.connections++
	s.received += stats.BytesIn
	s.sent += stats.BytesOut
	s.stalls += stats.CreditStalls
	s.oldest = max(s.oldest, stats.InFlight.OldestAge)
	for kind, n := range stats.InFlight.ByKind {
		op := "other"
		if kind.Op.Known() {
			op = kind.Op.String()
		}
		s.calls[op] += n
	}
}
