package raftlog

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
)

// checkDisk finds out whether what is on the disk fits together and is this node's history, before the engine sees it.
func (g *Group) checkDisk(log raft.LogStore) error {
	found := opening{dir: g.cfg.Dir, log: log, filled: g.Abstains() != nil}
	if err := found.look(g.snaps); err != nil {
		return err
	}
	if err := found.fit(); err != nil {
		return g.stepAside(err)
	}
	g.lastAtOpen = found.end()
	if g.stores.snapshotDir == "" {
		return nil // in memory: nobody can put another in place
	}
	var was mark
	var damaged bool
	var err error
	if g.mark, was, damaged, err = openMark(g.cfg.Dir); err != nil {
		return err
	}
	if damaged {
		g.cfg.Logger.Warn("what was noted as applied is damaged: if the log was put back, that is not known",
			"file", markPath(g.cfg.Dir))
	}
	has, at, err := found.holds(was)
	if err != nil {
		return err
	}
	g.machine.expect = was
	switch has {
	case heldAll:
		g.machine.floor = was.Index
	case heldOther:
		return &PartedError{Index: at.Index, Ours: was, Theirs: at, With: "the log in " + g.cfg.Dir}
	case heldPart:
		return g.putBack(found.end(), was)
	}
	return nil
}

// abstain takes this node's say until its log is whole again.
func (g *Group) abstain(why error) error {
	return g.stores.box.change(func(b *ballot) {
		b.Abstains = &Abstention{Why: why.Error(), Since: g.cfg.Now().UTC().Format(time.RFC3339)}
	})
}

// putBack is what becomes of a node whose log was put back to an earlier time: it follows, and votes again when it has
// all that it had.
func (g *Group) putBack(end state.Index, was mark) error {
	if g.Abstains() != nil {
		return nil // its log was begun anew
	}
	why := &CorruptError{File: g.stores.file, Detail: fmt.Sprintf(
		"the log ends with entry %d, and this node has applied entry %d: this is an older copy of it", end, was.Index)}
	if !g.stores.box.others(string(g.cfg.ID)) {
		return &UnusableError{Err: why, Way: fmt.Sprintf(
			"bring back the newest copy; to go on from this one, and lose what came after it, remove %s", markPath(g.cfg.Dir))}
	}
	g.cfg.Logger.Error("this node has no vote until the others have brought its log up to date", "err", why)
	return g.abstain(why)
}

// end is the last entry that there is.
func (o *opening) end() state.Index { return state.Index(max(o.last, o.snapshot.covers.Index)) }

// held is what an opened log has of what the mark says was applied.
type held uint8

const (
	heldAll   held = iota // or it cannot be told
	heldPart              // it ends before
	heldOther             // another history is in its place
)

// holds compares the log that was found with the mark. at is the chain there, as found.
func (o *opening) holds(m mark) (h held, at ChainPoint, err error) {
	if m.Index == 0 {
		return heldAll, at, nil
	}
	covered := state.Index(o.snapshot.covers.Index)
	if m.Index <= covered {
		at, ok := o.snapshot.points.at(m.Index)
		if ok && at != m {
			return heldOther, at, nil
		}
		return heldAll, at, nil
	}
	if state.Index(o.last) < m.Index {
		return heldPart, at, nil
	}
	at = ChainPoint{Index: covered, Hash: o.snapshot.chain.Hash}
	for i := covered + 1; i <= m.Index; i++ {
		l := new(raft.Log)
		if err := o.log.GetLog(uint64(i), l); err != nil {
			return heldAll, at, fmt.Errorf("read log entry %d: %w", i, err)
		}
		at = chainAfter(at, l)
	}
	if at != m {
		return heldOther, at, nil
	}
	return heldAll, at, nil
}
