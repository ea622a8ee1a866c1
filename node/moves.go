package node

import (
	"context"

	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
)

// recordMoves writes into the log where the members are that have moved by hand, on the leader.
func (n *Node) recordMoves(ctx context.Context) error {
	before, now, err := n.log.Moved()
	if err != nil || len(now) == 0 {
		return err
	}
	if _, lowest := n.log.View().Lowest(); lowest >= state.LevelProven {
		rec := &state.Recovered{
			Members: membersOf(now), Before: membersOf(before), Micros: state.Micros(n.now().UnixMicro()), Note: "new addresses",
		}
		if err := n.proposeOne(ctx, rec); err != nil {
			return err
		}
	}
	return n.log.RecordMoves(ctx)
}

func membersOf(servers []raftlog.ServerInfo) []state.Member {
	var out []state.Member
	for _, s := range servers {
		out = append(out, state.Member{Node: s.ID, Addr: s.Addr, Voter: s.Voter})
	}
	return out
}

// era is the last recovery that this node knows of.
func (n *Node) era() state.Index { return n.folder.Era() }
