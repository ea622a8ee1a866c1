package describe

import (
	"github.com/datanode/datanode/node/schedule"
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
