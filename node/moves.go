package node

import (
	"context"
	"strconv"
	"strings"

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

// eraMark is between the cell and its era in the hello of a raft stream.
const eraMark = "#"

// withEra is what a raft stream says of the cell: its ID, and the entry of the recovery that its history
// goes back to. Who was not there for that one may have a majority of the votes of before, and must not be heard.
func withEra(cell string, era state.Index) string {
	if era == 0 {
		return cell
	}
	return cell + eraMark + strconv.FormatUint(uint64(era), 10)
}

func splitEra(s string) (cell string, era state.Index) {
	cell, text, _ := strings.Cut(s, eraMark)
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return cell, 0
	}
	return cell, state.Index(n)
}

// era is the last recovery that this node knows of.
func (n *Node) era() state.Index { return n.folder.Era() }
