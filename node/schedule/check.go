package schedule

import (
	"slices"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// NameTarget refuses a move to a node that could not take the replica, and otherwise binds it to that node. With force
// it waits there for what may change, such as disk space. Without a target the cell chooses.
func NameTarget(v *state.View, e *state.Extent, admit *state.Admit, force bool) error {
	if admit.Target == "" {
		return nil
	}
	why := Unfit(v, e, admit.Target)
	_, holds := e.Replica(admit.Target)
	switch {
	case why == "":
	case v.Node(admit.Target) == nil:
		return wire.Errorf(wire.OpSubmit, wire.CodeNotFound, "%s; see node ls", why)
	case holds || !force:
		return wire.Errorf(wire.OpSubmit, wire.CodePrecondition, "%s; name another target, or none", why)
	default:
		admit.Forced = true
	}
	// Where an older build runs, a target is only a wish, as it was there.
	_, lowest := v.Lowest()
	admit.Named = lowest >= state.LevelNamed
	return nil
}

// CheckEmptying refuses a decommission that could not end: an extent on the node already has a replica on every other
// node that takes any.
func CheckEmptying(v *state.View, node *state.Node) error {
	takers := slices.DeleteFunc(Takers(v), func(id state.NodeID) bool { return id == node.ID })
	var stuck *state.Extent
	count := 0
	v.ReplicasOn(node.ID, func(e *state.Extent) bool {
		lacks := func(id state.NodeID) bool { _, holds := e.Replica(id); return !holds }
		if !slices.ContainsFunc(takers, lacks) {
			stuck = e
			count++
		}
		return true
	})
	if stuck == nil {
		return nil
	}
	return wire.Errorf(wire.OpSubmit, wire.CodePrecondition,
		"%s cannot be emptied: no other node can take its replicas of %d extents (extent %d, for one, has a replica on "+
			"every node that is up); add a node, delete extents, or start all the same with --force and add a node later",
		node.ID, count, stuck.ID)
}

// CheckUrgent refuses what a node of the cell would not understand, so that the other submissions of a batch go on.
func CheckUrgent(v *state.View, urgent bool) error {
	if id, lowest := v.Lowest(); urgent && lowest < state.LevelNamed {
		return wire.Errorf(wire.OpSubmit, wire.CodePrecondition,
			"nothing can be urgent while node %s has a build of level %d, which knows no quiet windows; "+
				"want level %d, so run a newer build on it",
			id, lowest, state.LevelNamed)
	}
	return nil
}
