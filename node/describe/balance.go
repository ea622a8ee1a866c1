package describe

import (
	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Balance is a plan of at most so many moves.
func Balance(view *state.View, most int) *wire.BalanceReply {
	plan := schedule.BalanceOf(view, most)
	reply := &wire.BalanceReply{
		When: view.Settings.Balance.String(), More: plan.More, Waits: plan.Waits,
		Open: schedule.OpenBalancing(view), Pace: view.Settings.CopyPace,
	}
	for _, n := range plan.Nodes {
		reply.Nodes = append(reply.Nodes,
			wire.BalanceNode{Node: string(n.Node), Total: n.Total, Used: n.Used, After: n.After})
	}
	for _, m := range plan.Moves {
		reply.Moves = append(reply.Moves,
			wire.BalanceMove{Extent: uint64(m.Extent), From: string(m.From), To: string(m.To), Bytes: m.Bytes})
	}
	return reply
}
