package describe

import (
	"cmp"
	"slices"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// countedClasses bounds the classes that are counted by name, and so the labels of a metric: anybody who may put
// makes up classes. The others are counted together.
const countedClasses = 20

// otherClasses is the name of all classes that are not counted by theirs.
const otherClasses = "other"

// CountKinds counts the open operations of the kinds that have any.
func CountKinds(view *state.View) []wire.OpCount {
	var all []wire.OpCount
	for kind := policies.KindCreate; kind <= policies.KindRecommission; kind++ {
		if l := view.KindLoad(kind); l != (state.Load{}) {
			all = append(all, wire.OpCount{Name: kind.String(), Queued: l.Queued, Running: l.Running})
		}
	}
	return all
}

// CountClasses counts by class, those with the most operations first and the rest together at the end.
func CountClasses(view *state.View) []wire.OpCount {
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

// CountNodes counts the copies of the nodes that have any.
func CountNodes(view *state.View) []wire.NodeOpCount {
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
