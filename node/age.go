package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// The age of a store. A folder that was put back from an older copy holds extents that end before what the cell has
// acknowledged since, and nothing in it says so. Two things tell. The cell remembers how far it has seen the node's
// log (state.Node.Seen); an older folder has a log that ends before. And the store lists the incarnations of the node
// that ran on it; an older one lacks the one that the cell knows. It is one list, and not the last incarnation alone,
// because a process may die before or after the cell has heard of it: then the last one is not the one known.
//
// Neither rises a false alarm after a crash: an entry is on the node's disk before the node applies it, and the list
// is on disk before the node joins.

const (
	runsFile     = "runs.json" // in the store's folder, so that it goes where the extents go
	maxRuns      = 64
	maxRunsBytes = 4 << 10
)

// noteRun puts this incarnation into the store's list, durably, and answers those before it, the newest first.
func noteRun(fsys vfs.FS, store string, incarnation uint64) (before []uint64, err error) {
	path := filepath.Join(store, runsFile)
	raw, err := vfs.ReadFile(fsys, path, maxRunsBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		if err := json.Unmarshal(raw, &before); err != nil {
			before = nil // as if it were not there: the store is compared with the log, which costs time only
		}
	}
	before = before[:min(len(before), maxRuns-1)]
	raw, err = json.Marshal(append([]uint64{incarnation}, before...))
	if err != nil {
		return nil, err
	}
	return before, vfs.ReplaceFile(fsys, path, append(raw, '\n'))
}

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

// compared reads this node's replica of a sealed extent in full and says how it differs from what the log says.
func (n *Node) compared(e *state.Extent) (why string) {
	sum, err := n.store.Sum(extent.ID(e.ID), e.Length)
	switch {
	case err != nil:
		return err.Error()
	case sum != e.Sum:
		return fmt.Sprintf("its %d bytes have sum %s, not %s", e.Length, wire.SumText(sum), wire.SumText(e.Sum))
	}
	return ""
}
