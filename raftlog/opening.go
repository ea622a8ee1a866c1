package raftlog

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
)

// opening is what a group finds in its folder when it is opened, before the engine sees any of it: the engine
// believes that its log begins where its snapshot ends, and panics where it does not.
type opening struct {
	dir   string
	log   raft.LogStore
	first uint64 // the first entry in the log, 0 for none
	last  uint64 // the last one

	snapshot snapshotHead // the newest that is whole; zero for none
	aside    int          // snapshots that were set aside
	filled   bool         // the others are going to fill the log: it may be empty
}

// look reads what is there and sets aside what is damaged.
func (o *opening) look(s *snapshots) error {
	var err error
	if o.snapshot, o.aside, err = s.check(); err != nil {
		return err
	}
	var firstErr, lastErr error
	o.first, firstErr = o.log.FirstIndex()
	o.last, lastErr = o.log.LastIndex()
	return errors.Join(firstErr, lastErr)
}

// fit reports whether the log goes on where the snapshot ends, without a gap. Errors are of type *CorruptError
// if what is there is not what was written.
func (o *opening) fit() error {
	covered := o.snapshot.covers.Index
	switch {
	case o.last == 0 && covered == 0 && o.aside > 0 && !o.filled:
		return corrupt("the snapshots of %s are damaged and set aside, and its log is empty", o.dir)
	case o.last == 0:
		return nil
	case o.last < covered:
		// The engine was interrupted when it dropped the log that an installed snapshot stands for, or the log is older
		// than the snapshot. What it would append now would leave a gap behind these entries.
		err := o.log.DeleteRange(o.first, o.last)
		o.first, o.last = 0, 0
		return err
	case o.first > covered+1:
		found := "there is no snapshot"
		if covered > 0 {
			found = fmt.Sprintf("its newest whole snapshot ends with entry %d", covered)
		}
		return corrupt("the log of %s begins with entry %d, and %s; %d damaged ones are set aside",
			o.dir, o.first, found, o.aside)
	}
	return o.walk(covered + 1)
}

const wayOut = "start the node on an empty folder under another ID, or put back a copy of all of its folder"

// walk looks at every entry from from, all of which the engine is going to ask for.
func (o *opening) walk(from uint64) error {
	for i := from; i <= o.last; i++ {
		l := new(raft.Log)
		if err := o.log.GetLog(i, l); errors.Is(err, raft.ErrLogNotFound) {
			missing := corrupt("it is missing from the log of %s, which has entries %d to %d", o.dir, o.first, o.last)
			return atIndex(state.Index(i), missing)
		}
	}
	return nil
}
