package web

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// countMetrics are the same counts as metrics.
type countMetrics struct{ kinds, nodes, classes *prometheus.Desc }

func newCountMetrics() countMetrics {
	return countMetrics{
		kinds: prometheus.NewDesc("datanode_operations",
			"Open operations, by kind and state.", []string{"kind", "state"}, nil),
		nodes: prometheus.NewDesc("datanode_node_operations",
			"Open copies, by node, by whether it is their source or target, and by state.",
			[]string{"node", "side", "state"}, nil),
		classes: prometheus.NewDesc("datanode_class_operations",
			"Open operations by class of their extents and by state: the largest classes, and other.",
			[]string{"class", "state"}, nil),
	}
}

func (m countMetrics) describe(ch chan<- *prometheus.Desc) {
	ch <- m.kinds
	ch <- m.nodes
	ch <- m.classes
}

func (m countMetrics) collect(view *state.View, ch chan<- prometheus.Metric) {
	both := func(desc *prometheus.Desc, queued, running int, labels ...string) {
		for st, n := range map[state.OpState]int{state.OpQueued: queued, state.OpRunning: running} {
			values := append(slices.Clip(labels), st.String())
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n), values...)
		}
	}
	for kind := policies.KindCreate; kind <= policies.KindRecommission; kind++ {
		l := view.KindLoad(kind)
		both(m.kinds, l.Queued, l.Running, kind.String())
	}
	view.Nodes(func(node *state.Node) bool {
		l := view.NodeLoad(node.ID)
		both(m.nodes, l.Source.Queued, l.Source.Running, string(node.ID), "source")
		both(m.nodes, l.Target.Queued, l.Target.Running, string(node.ID), "target")
		return true
	})
	for _, c := range describe.CountClasses(view) {
		both(m.classes, c.Queued, c.Running, c.Name)
	}
}
