package node

import (
	"cmp"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// countedClasses bounds the classes that are counted by name, and so the labels of a metric: anybody who may put
// makes up classes. The others are counted together.
const countedClasses = 20

// otherClasses is the name of all classes that are not counted by theirs.
const otherClasses = "other"

// countKinds counts the open operations of the kinds that have any.
func countKinds(view *state.View) []wire.OpCount {
	var all []wire.OpCount
	for kind := policies.KindCreate; kind <= policies.KindRecommission; kind++ {
		if l := view.KindLoad(kind); l != (state.Load{}) {
			all = append(all, wire.OpCount{Name: kind.String(), Queued: l.Queued, Running: l.Running})
		}
	}
	return all
}

// countClasses counts by class, those with the most operations first and the rest together at the end.
func countClasses(view *state.View) []wire.OpCount {
	var all []wire.OpCount
	rest, more := wire.OpCount{Name: otherClasses}, false
	view.Classes(func(class string, l state.Load) bool {
		c := wire.OpCount{Name: class, Queued: l.Queued, Running: l.Running}
		if class == otherClasses {
			rest, more = c, true
			return true
		}
		all = append(all, c)
		return true
	})
	slices.SortStableFunc(all, func(a, b wire.OpCount) int { return cmp.Compare(b.Queued+b.Running, a.Queued+a.Running) })
	for _, c := range all[min(len(all), countedClasses):] {
		rest.Queued, rest.Running, more = rest.Queued+c.Queued, rest.Running+c.Running, true
	}
	all = all[:min(len(all), countedClasses)]
	if more {
		all = append(all, rest)
	}
	return all
}

// countNodes counts the copies of the nodes that have any.
func countNodes(view *state.View) []wire.NodeOpCount {
	var all []wire.NodeOpCount
	view.Nodes(func(node *state.Node) bool {
		if l := view.NodeLoad(node.ID); l != (state.NodeLoad{}) {
			all = append(all, wire.NodeOpCount{
				Node:         string(node.ID),
				SourceQueued: l.Source.Queued, SourceRunning: l.Source.Running,
				TargetQueued: l.Target.Queued, TargetRunning: l.Target.Running,
			})
		}
		return true
	})
	return all
}

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
	for _, c := range countClasses(view) {
		both(m.classes, c.Queued, c.Running, c.Name)
	}
}
