package lead

import (
	"time"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

const (
	// behindAfter is how long ago the leader has applied what a node lacks that is behind the log. Steps on such a node
	// would wait for it, so it is given none.
	behindAfter = 5 * time.Second
	whyBehind   = "it is behind the log"
	// A change of the free bytes is an entry when it is more than this share of the disk.
	movedShare = 32
)

// logMark is how far the leader had come at a moment.
type logMark struct {
	at      time.Time
	applied state.Index
}

// disks are the commands that record what the nodes have said of their disks, where that has changed.
func (w *watch) disks(view *state.View) []state.Command {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.markLocked(w.log.AppliedIndex())
	return w.disksLocked(view)
}

func (w *watch) disksLocked(view *state.View) []state.Command {
	if _, lowest := view.Lowest(); lowest < state.LevelProven {
		return nil
	}
	var cmds []state.Command
	view.Nodes(func(node *state.Node) bool {
		s := w.seen[node.ID]
		if s == nil || s.beat.Incarnation != node.Incarnation {
			return true
		}
		b := &s.beat
		said := state.NodeRoom{Node: node.ID, Free: b.Free, Total: b.Total, Refuses: b.Refuses}
		if said.Refuses == "" && w.behindLocked(s.at, b) {
			said.Refuses = whyBehind
		}
		if said.Refuses != node.Refuses || said.Total != node.Total || moved(node, said.Free) {
			cmds = append(cmds, &said)
		}
		return true
	})
	return cmds
}

// moved reports whether the free bytes of a node are not about what the cell knows.
func moved(node *state.Node, free uint64) bool {
	return max(node.Free, free)-min(node.Free, free) > node.Total/movedShare
}

// markLocked notes how far this node, which leads, has applied the log.
func (w *watch) markLocked(applied state.Index) {
	now := w.clock.Now()
	for len(w.marks) > 1 && now.Sub(w.marks[1].at) > 2*behindAfter {
		w.marks = w.marks[1:]
	}
	w.marks = append(w.marks, logMark{at: now, applied: applied})
}

// behindLocked reports whether a node, when it was heard, lacked what the leader had applied long before.
func (w *watch) behindLocked(heard time.Time, b *wire.Heartbeat) bool {
	for _, m := range w.marks {
		if heard.Sub(m.at) >= behindAfter && state.Index(b.Applied) < m.applied {
			return true
		}
	}
	return false
}
