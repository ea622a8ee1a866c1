package lead

import (
	"slices"
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
	_, lowest := view.Lowest()
	if lowest < state.LevelProven {
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
		if lowest >= state.LevelDisks {
			said.Largest, said.Disks = b.Largest, disksOf(b)
		}
		if said.Refuses != node.Refuses || said.Total != node.Total || moved(node, said.Free) ||
			largestMoved(node.Largest, said.Largest) || !slices.EqualFunc(said.Disks, node.Disks, sameDisk) {
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

// largestMoved reports whether the room of the emptiest disk has changed by a share that matters: of itself, since it
// is to be known well where it is little.
func largestMoved(known, now uint64) bool {
	return max(known, now)-min(known, now) > max(known, now)/movedShare
}

// disksOf are the disks that a node calls not ok. What an older or newer build says more than is bounded is left out.
func disksOf(b *wire.Heartbeat) (all []state.NodeDisk) {
	for _, d := range b.Disks[:min(len(b.Disks), wire.MaxDisks)] {
		all = append(all, state.NodeDisk{Disk: wire.Clip(d.Disk, wire.MaxDiskWordBytes),
			State: wire.Clip(d.State, wire.MaxDiskWordBytes), Why: wire.Clip(d.Why, wire.MaxDiskWhyBytes)})
	}
	return all
}

func sameDisk(a, b state.NodeDisk) bool {
	return a.Disk == b.Disk && a.State == b.State && a.Why == b.Why
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
