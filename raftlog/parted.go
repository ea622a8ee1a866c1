package raftlog

import (
	"fmt"

	"github.com/datanode/datanode/raftlog/state"
)

// PartedError says that two histories of one cell exist: this node has applied entries in whose place there are others,
// or none, in the log that it was to follow. Neither can be made of the other, and nothing on either side is changed.
type PartedError struct {
	Index  state.Index // where they are known to differ
	Ours   ChainPoint  // at Index, or where this node stands
	Theirs ChainPoint  // at Index; Index 0: not known
	With   string      // whose the other history is
	What   string      // what was about to happen
}

func (e *PartedError) Error() string {
	theirs := "is not known"
	if e.Theirs.Index != 0 {
		theirs = "is " + e.Theirs.String()
	}
	s := fmt.Sprintf("the cell's history has parted by entry %d: the chain here is %s, that of %s %s",
		e.Index, e.Ours, e.With, theirs)
	if e.What != "" {
		s += "; " + e.What
	}
	return s + partedAdvice
}

const partedAdvice = "; somebody has put an older or another folder in place. Nothing is overwritten: find out " +
	"which nodes hold what counts (datanode log diff), and start the others on empty folders under other IDs"

// mayCut reports whether the engine may delete entries from its log. What was applied may go only once a snapshot
// stands for it, from the beginning. A leader whose log has other entries in the place of some that are applied here is
// one of another history.
func (g *Group) mayCut(low, high uint64) error {
	chain := g.Chain()
	applied := max(chain.Index, g.machine.floor)
	if state.Index(low) > applied {
		return nil
	}
	first, err := g.stores.log.FirstIndex()
	if err != nil {
		return err
	}
	if low == first && min(high, uint64(applied)) <= g.snaps.newest.Load() {
		return nil
	}
	if was := g.machine.expected(); was.Index > chain.Index {
		chain = was // this start has not applied again what an earlier one had
	}
	return &PartedError{
		Index: state.Index(low), Ours: chain, With: g.leaderName(),
		What: fmt.Sprintf("it would have entries %d to %d cut from the log, and those up to %d are applied", low, high,
			applied),
	}
}

// judge reports whether a snapshot that a leader sends is of this node's history. One that is not stops the node.
func (g *Group) judge(head snapshotHead) error {
	ours := g.Chain()
	if head.chain.Index < ours.Index {
		at, ok := g.PointAt(head.chain.Index)
		if ok && at == head.chain {
			return fmt.Errorf("a snapshot of entry %d has arrived, and %d is applied", head.chain.Index, ours.Index)
		}
		if !ok {
			at = ours
		}
		return g.part(&PartedError{
			Index: head.chain.Index, Ours: at, Theirs: head.chain, With: g.leaderName(),
			What: "it has sent a snapshot that goes back behind what is applied",
		})
	}
	for i := len(head.points) - 1; i >= 0; i-- {
		theirs := head.points[i]
		at, ok := g.PointAt(theirs.Index)
		if !ok {
			continue
		}
		if at != theirs {
			return g.part(&PartedError{
				Index: theirs.Index, Ours: at, Theirs: theirs, With: g.leaderName(), What: "it has sent a snapshot",
			})
		}
		return nil // a chain that is the same at one entry is the same at all before it
	}
	return nil
}

func (g *Group) leaderName() string {
	if id, addr := g.Leader(); id != "" {
		return fmt.Sprintf("the leader %s at %s", id, addr)
	}
	return "the leader"
}

func (g *Group) part(err *PartedError) error {
	g.fail(err)
	return err
}

// PointAt is the chain at an entry that was applied here, false when this node does not know it any more, or not yet.
func (g *Group) PointAt(index state.Index) (ChainPoint, bool) {
	if p, ok := g.machine.pointAt(index); ok {
		return p, true
	}
	if index == 0 {
		return ChainPoint{}, false
	}
	r, err := g.reader()
	if err != nil {
		return ChainPoint{}, false
	}
	// What was applied before the start is known of, though this start has not come that far.
	if m := g.machine.expected(); m.Index <= g.machine.floor && m.Index > r.live.Index {
		r.live = m
	}
	if index > r.live.Index {
		return ChainPoint{}, false
	}
	p, err := r.chainAt(index)
	return p, err == nil
}

// Compare compares what another node says of its history with this one's. It answers nil where they agree, and
// where this node cannot know.
func (g *Group) Compare(theirs ChainPoint, with string) *PartedError {
	ours, ok := g.PointAt(theirs.Index)
	if !ok || ours.Hash == theirs.Hash {
		return nil
	}
	return &PartedError{Index: theirs.Index, Ours: ours, Theirs: theirs, With: with}
}
