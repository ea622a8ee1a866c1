package schedule

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/datanode/datanode/raftlog/state"
)

// Placement is what a new extent wants of the nodes that it is given to.
type Placement struct {
	Want    int            // how many
	Least   int            // with how many it can be made; nodes to avoid are taken only if there are fewer others
	Primary state.NodeID   // comes first, if it takes replicas; empty: any
	Avoid   []state.NodeID // could not be reached just now
}

// Placed counts what has been placed since a view was taken, which the view cannot know. The zero value is ready. It
// belongs to one goroutine.
type Placed struct {
	extents int
	on      map[state.NodeID]int
}

// Add counts one more extent.
func (p *Placed) Add(replicas []state.NodeID) {
	if p.on == nil {
		p.on = map[state.NodeID]int{}
	}
	p.extents++
	for _, id := range replicas {
		p.on[id]++
	}
}

// Place chooses the nodes of a new extent: the primary, then the nodes whose disks are emptier, then those that hold
// the fewest replicas. Nodes to avoid are left out while the others are enough for a create to be admitted: with one
// replica less, which a repair adds later, a put goes on. Fewer than wanted come back when there are no more.
func Place(v *state.View, want Placement, placed *Placed) []state.NodeID {
	var ids, avoided []state.NodeID
	for _, id := range Takers(v) {
		if id != want.Primary && slices.Contains(want.Avoid, id) {
			avoided = append(avoided, id)
		} else {
			ids = append(ids, id)
		}
	}
	if len(ids) < want.Least {
		ids = append(ids, avoided...)
	}
	// Nodes that are alike take turns, or each extent of a cell of three would have the same primary.
	if turn := int(v.NextExtent) + placed.extents; len(ids) > 0 {
		ids = slices.Concat(ids[turn%len(ids):], ids[:turn%len(ids)])
	}
	load := func(id state.NodeID) int {
		if id == want.Primary {
			return -1
		}
		return v.CountReplicas(id) + placed.on[id]
	}
	full := Fullness(v)
	slices.SortStableFunc(ids, func(a, b state.NodeID) int {
		if a == want.Primary || b == want.Primary {
			return load(a) - load(b)
		}
		return cmp.Or(full(a)-full(b), load(a)-load(b))
	})
	return ids[:min(max(want.Want, 0), len(ids))]
}

// WhyNoneTake says why nodes that are up take no replicas, empty when there are none such.
func WhyNoneTake(v *state.View) string {
	var all []string
	v.Nodes(func(node *state.Node) bool {
		if node.State == state.NodeUp && node.Mode == state.ModeActive && node.Refuses != "" {
			all = append(all, fmt.Sprintf("%s takes none: %s", node.ID, node.Refuses))
		}
		return true
	})
	return strings.Join(all, "; ")
}
