package describe

import (
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Extent says everything about an extent.
func Extent(view *state.View, e *state.Extent) wire.Extent {
	out := wire.Extent{
		ID: uint64(e.ID), State: e.State.String(), Class: e.Class, Want: int(e.Want), Live: view.Live(e), Length: e.Length,
		Gen: e.Gen, Epoch: uint64(e.Epoch), Created: int64(e.CreatedMicros), Replicas: []wire.Replica{},
		Birth: wire.BirthText(e.Birth()), Punched: e.Punched, Holes: e.Holes,
		KeptUntil: int64(e.KeptUntil),
	}
	if e.Final() {
		out.Sum = wire.SumText(e.Sum)
	}
	if e.Damaged {
		out.Damaged = []wire.Range{{From: e.DamagedFrom, To: e.DamagedTo}}
		if e.Whole() == 0 {
			out.Sum = "" // nobody knows it
		}
	}
	for _, r := range e.Replicas {
		nodeState := "unknown"
		if node := view.Node(r.Node); node != nil {
			nodeState = node.State.String()
		}
		out.Replicas = append(out.Replicas, wire.Replica{Node: string(r.Node), State: r.State.String(), NodeState: nodeState})
	}
	for _, f := range e.Former {
		out.Dropping = append(out.Dropping, string(f.Node))
	}
	for _, id := range e.Ops {
		out.Ops = append(out.Ops, id.String())
	}
	return out
}

// Lacking counts the extents, open ones too, with fewer whole replicas on nodes that are up than they want.
func Lacking(view *state.View) int {
	short := map[state.ExtentID]bool{}
	note := func(e *state.Extent) bool {
		if e.Written() && view.Live(e) < int(e.Want) {
			short[e.ID] = true
		}
		return true
	}
	view.Lacking(note)
	view.Nodes(func(node *state.Node) bool {
		if node.State != state.NodeUp {
			view.ReplicasOn(node.ID, note)
		}
		return true
	})
	return len(short)
}
