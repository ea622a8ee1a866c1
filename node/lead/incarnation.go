package lead

import (
	"fmt"
	"slices"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// How the leader finds out that a folder is older than what the cell counts on, such as one that was put back from a
// copy: see node/replica/runs.go for the node's part.

// seenOf is the highest entry that the cell knows a node to have had: by the log, and by what its last incarnation has
// reported to this leader.
func (m *members) seenOf(node *state.Node) state.Index {
	return max(node.Seen, m.watch.applied(node))
}

// older says why the folder of a node that joins is older than what the cell counts on; empty if it is not, or if that
// cannot be told.
func (m *members) older(view *state.View, req wire.JoinRequest) string {
	node := view.Node(state.NodeID(req.Node))
	known := node != nil && node.Incarnation != 0 && node.Incarnation != req.Incarnation
	if !known || node.Level < state.LevelProven || !m.proves() {
		return ""
	}
	if seen := m.seenOf(node); state.Index(req.Last) < seen {
		return fmt.Sprintf("its log ended with entry %d, and it had entry %d", req.Last, seen)
	}
	if !slices.Contains(req.Before, node.Incarnation) {
		return fmt.Sprintf("its store does not know of incarnation %d, which ran on it", node.Incarnation)
	}
	return ""
}

// joinCommand is the entry that admits a node.
func (m *members) joinCommand(view *state.View, req wire.JoinRequest, voter bool) *state.Join {
	cmd := &state.Join{
		Node: state.NodeID(req.Node), Addr: req.Addr, Incarnation: req.Incarnation, Voter: voter,
		Level: state.Level(req.Level),
	}
	if !m.proves() || cmd.Level < state.LevelProven {
		return cmd
	}
	if node := view.Node(cmd.Node); node != nil {
		cmd.Seen = m.seenOf(node)
	}
	if why := m.older(view, req); why != "" {
		m.logger.Error("the data folder of a node is older than what the cell counts on; "+
			"nothing in it counts before it is compared", "of", req.Node, "why", why)
		cmd.Unproven = true
	}
	return cmd
}
