package node

import (
	"fmt"
	"slices"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// seenOf is the highest entry that the cell knows a node to have had: by the log, and by what its last incarnation has
// told this leader.
func (n *Node) seenOf(node *state.Node) state.Index {
	return max(node.Seen, n.watch.applied(node))
}

func (w *watch) applied(node *state.Node) state.Index {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.appliedLocked(node)
}

// seenLocked is what an entry that calls a node down says of how far its log went.
func (w *watch) seenLocked(node *state.Node) state.Index {
	if !w.n.proves() {
		return 0
	}
	return w.appliedLocked(node)
}

func (w *watch) appliedLocked(node *state.Node) state.Index {
	if s := w.seen[node.ID]; s != nil && s.beat.Incarnation == node.Incarnation {
		return state.Index(s.beat.Applied)
	}
	return 0
}

// older says why the folder of a node that joins is older than what the cell counts on; empty if it is not, or if that
// cannot be told.
func (n *Node) older(view *state.View, req wire.JoinRequest) string {
	node := view.Node(state.NodeID(req.Node))
	if node == nil || node.Incarnation == 0 || node.Incarnation == req.Incarnation || node.Level < state.LevelProven || !n.proves() {
		return ""
	}
	if seen := n.seenOf(node); state.Index(req.Last) < seen {
		return fmt.Sprintf("its log ended with entry %d, and it had entry %d", req.Last, seen)
	}
	if !slices.Contains(req.Before, node.Incarnation) {
		return fmt.Sprintf("its store does not know of incarnation %d, which ran on it", node.Incarnation)
	}
	return ""
}

// joinCommand is the entry that lets a node in.
func (n *Node) joinCommand(view *state.View, req wire.JoinRequest, voter bool) *state.Join {
	cmd := &state.Join{
		Node: state.NodeID(req.Node), Addr: req.Addr, Incarnation: req.Incarnation, Voter: voter, Level: state.Level(req.Level),
	}
	if !n.proves() || cmd.Level < state.LevelProven {
		return cmd
	}
	if node := view.Node(cmd.Node); node != nil {
		cmd.Seen = n.seenOf(node)
	}
	if why := n.older(view, req); why != "" {
		n.logger.Error("the data folder of a node is older than what the cell counts on; nothing in it counts before it is compared", "of", req.Node, "why", why)
		cmd.Unproven = true
	}
	return cmd
}

// proves tells whether all nodes carry out the commands about damaged extents and doubted replicas.
func (n *Node) proves() bool { return n.log.View().AllReach(state.LevelProven) }
