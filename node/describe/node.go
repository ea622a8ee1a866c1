package describe

import (
	"fmt"

	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Node says everything about a node, and what its decommission waits for, as look has it. leader is the node that
// leads, empty if none is known.
func Node(view *state.View, look *schedule.Look, node *state.Node, leader state.NodeID) wire.Node {
	out := wire.Node{
		ID: string(node.ID), Addr: node.Addr, State: node.State.String(), Mode: node.Mode.String(), Voter: node.Voter,
		Leader: node.ID == leader, Replicas: view.CountReplicas(node.ID),
		Incarnation: node.Incarnation, Since: int64(node.SinceMicros),
		SafeRemove: node.Mode == state.ModeDecommissioned, Free: node.Free, Total: node.Total, Refuses: node.Refuses,
	}
	out.Largest, out.Disks = node.Largest, nodeDisks(node)
	out.Paused = nodePauses(view, node, out.Leader)
	load := view.NodeLoad(node.ID)
	out.SourceQueued, out.SourceRunning = load.Source.Queued, load.Source.Running
	out.TargetQueued, out.TargetRunning = load.Target.Queued, load.Target.Running
	view.DropsOn(node.ID, func(*state.Extent) bool { out.Dropping++; return true })
	if node.Mode == state.ModeDecommissioning {
		out.Operation, out.Remaining = node.Decommission.String(), out.Replicas
		out.Blocked = decommissionBlocked(view, look, node)
	} else if o := queuedDecommission(view, node); o != nil {
		out.Operation, out.Remaining = o.ID.String(), out.Replicas
		out.Blocked = look.Blocked(o)
	}
	return out
}

// Disks are those of all nodes that are not ok, as the nodes last said.
func Disks(view *state.View) (all []wire.NodeDisk) {
	view.Nodes(func(node *state.Node) bool { all = append(all, nodeDisks(node)...); return true })
	return all
}

func nodeDisks(node *state.Node) (all []wire.NodeDisk) {
	for _, d := range node.Disks {
		all = append(all, wire.NodeDisk{Node: string(node.ID), Disk: d.Disk, State: d.State, Why: d.Why,
			Since: int64(d.Since)})
	}
	return all
}

// queuedDecommission is one of a node that has not begun yet, nil when there is none: until it does the node takes
// replicas as before.
func queuedDecommission(view *state.View, node *state.Node) *state.Op {
	for _, id := range node.Ops {
		if o := view.Op(id); o.Kind == policies.KindDecommission && o.State == state.OpQueued {
			return o
		}
	}
	return nil
}

// decommissionBlocked says what the first replica that is not being moved waits for.
func decommissionBlocked(view *state.View, look *schedule.Look, node *state.Node) string {
	why := ""
	view.ReplicasOn(node.ID, func(e *state.Extent) bool {
		if e.Damaged {
			why = fmt.Sprintf("extent %d is damaged, and what is left of it stays where it is; "+
				"bring back a node that has it whole, or delete it", e.ID)
		}
		for _, id := range e.Ops {
			o := view.Op(id)
			if o.State == state.OpRunning {
				return true // this one is under way
			}
			if o.Kind == policies.KindMove {
				why = blockedText(look, e, o)
			}
		}
		return why == ""
	})
	if why == "" && view.CountReplicas(node.ID) == 0 && node.Voter {
		why = "its vote is still to be moved"
	}
	return why
}

func blockedText(look *schedule.Look, e *state.Extent, o *state.Op) string {
	if why := look.Blocked(o); why != "" {
		return fmt.Sprintf("the move of extent %d (%s): %s", e.ID, o.ID, why)
	}
	return ""
}
