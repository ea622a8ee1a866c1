package describe

import (
	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Stop says what a cell is without some nodes.
func Stop(s *schedule.Stop, nodes []string) wire.StopReply {
	out := wire.StopReply{
		Nodes: nodes, Safe: s.Safe(), Why: s.Why(), Notes: s.Notes(),
		Voters: s.Voters, VotesLeft: s.Votes, VotesNeeded: s.Needed,
		TakersLeft: s.Takers, TakersNeeded: s.Least,
		Unreadable: s.Unreadable, Unwritable: s.Unwritable, Single: s.Single, Open: s.Open, Next: uint64(s.Next),
	}
	for _, a := range s.First {
		what := "unwritable"
		if a.Unreadable {
			what = "unreadable"
		}
		out.Extents = append(out.Extents, wire.AtStake{
			Extent: uint64(a.Extent.ID), State: a.Extent.State.String(), Class: a.Extent.Class, Length: a.Extent.Length,
			What: what, Why: a.Why,
		})
	}
	return out
}

// Pauses are the nodes that are paused, by ID. leader is the node that leads, empty if none is known.
func Pauses(view *state.View, leader state.NodeID) (all []wire.NodePause) {
	view.Nodes(func(node *state.Node) bool {
		all = append(all, nodePauses(view, node, node.ID == leader)...)
		return true
	})
	return all
}

// nodePauses is that of a node, if it is paused.
func nodePauses(view *state.View, node *state.Node, leads bool) []wire.NodePause {
	if !node.IsPaused() {
		return nil
	}
	p := node.Pause
	return []wire.NodePause{{
		Node: string(node.ID), Until: int64(p.Until), Since: int64(p.Since), By: string(p.By), Forced: p.Forced,
		Waits: schedule.StopWaits(view, node, leads),
	}}
}
