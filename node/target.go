package node

import (
	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// nameTarget refuses a move to a node that could not take the replica, and otherwise holds it to that node. With force
// it waits there for what may change, such as room. Without a target the cell chooses.
func nameTarget(view *state.View, e *state.Extent, admit *state.Admit, force bool) error {
	if admit.Target == "" {
		return nil
	}
	why := schedule.Unfit(view, e, admit.Target)
	_, holds := e.Replica(admit.Target)
	switch {
	case why == "":
	case view.Node(admit.Target) == nil:
		return wire.Errorf(wire.OpSubmit, wire.CodeNotFound, "%s; see node ls", why)
	case holds || !force:
		return wire.Errorf(wire.OpSubmit, wire.CodePrecondition, "%s; name another target, or none", why)
	default:
		admit.Forced = true
	}
	// Where an older build runs, a target is only a wish, as it was there.
	_, lowest := view.Lowest()
	admit.Named = lowest >= state.LevelNamed
	return nil
}
