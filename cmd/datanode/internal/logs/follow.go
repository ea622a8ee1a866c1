package logs

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"

	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// step is one entry on the way through a log, with the state before it where that is known.
type step struct {
	Entry
	st       *state.State // nil where the entries that lead to it are not there
	commands []state.Command
	results  []state.Result
	applied  bool
}

// apply carries the entry out, once, and answers what its commands came to; nil where the state is not known.
func (s *step) apply() []state.Result {
	if s.st == nil || s.applied {
		return s.results
	}
	s.applied = true
	index := state.Index(s.Index())
	if s.commands == nil || s.kind() != "commands" {
		s.st.Skip(index)
		return nil
	}
	s.results = s.st.Apply(index, state.Micros(s.micros()), s.commands)
	return s.results
}

const (
	// mostTold is up to which entry a log is applied again from its first one, where there is no snapshot to begin from:
	// in an export, and of a node that does not show its own.
	mostTold = 300_000
	// fewTold is up to which entry that is less work than to get a snapshot from a node.
	fewTold = 2_000
)

// follow goes through the entries of a range, with the state where it can be made: from a snapshot of a folder or of a
// node that shows its own, or from the first entry. It is lost where an entry is missing or cannot be read, and found
// again where a snapshot has it.
func follow(ctx context.Context, s Source, r Range) iter.Seq2[*step, error] {
	return func(yield func(*step, error) bool) {
		snaps := &nodeSnapshots{}
		snaps.node, snaps.is = s.(Node)
		st, err := startOf(ctx, s, snaps, r.From)
		if err != nil {
			yield(nil, err)
			return
		}
		folder, _ := s.(*Folder)
		from := r.From
		if st != nil {
			r.From = uint64(st.Applied) + 1
		}
		for e, err := range s.Entries(ctx, r) {
			if err != nil {
				yield(nil, err)
				return
			}
			switch {
			case st != nil:
			case folder != nil:
				st = folder.stateAtSnapshot(e.Index() - 1)
			default:
				st, err = snaps.pick(ctx, func(at uint64) bool { return at == e.Index()-1 })
			}
			if err != nil {
				yield(nil, err)
				return
			}
			one := &step{Entry: e, commands: e.commands()}
			if st != nil && whole(st, one) {
				one.st = st
			} else {
				st = nil
			}
			if e.Index() >= from && !yield(one, nil) {
				return
			}
			one.apply()
		}
	}
}

// stateAtSnapshot is the state in the sound snapshot of an entry, nil where there is none.
func (f *Folder) stateAtSnapshot(index uint64) *state.State {
	for i := range f.Snapshots {
		if snap := &f.Snapshots[i]; snap.Err == nil && uint64(snap.Applied.Index) == index {
			st, err := f.StateBefore(state.Index(index + 1))
			if err != nil || uint64(st.Applied) != index {
				return nil // it was sound when the folder was opened; log verify says what is wrong now
			}
			return st
		}
	}
	return nil
}

// nodeSnapshots are the snapshots of a node that runs, which it lists once. The zero value has none.
type nodeSnapshots struct {
	node Node
	is   bool // there is a node
	list []wire.LogSnapshot
	read bool // list is what the node has
}

// pick reads the newest sound snapshot whose state is that of an entry which fits; nil where there is none, and of a
// node that shows no snapshots: to a client, or because its build is older than the call.
func (n *nodeSnapshots) pick(ctx context.Context, fits func(applied uint64) bool) (*state.State, error) {
	if n.is && !n.read {
		_, all, err := Snapshots(ctx, n.node)
		if err := notShown(err); err != nil {
			return nil, err
		}
		n.list, n.read = all, true
	}
	for i := len(n.list) - 1; i >= 0; i-- {
		if one := n.list[i]; !one.OK || !fits(one.Applied) {
			continue
		}
		snap, err := ReadSnapshot(ctx, n.node, n.list[i].ID)
		n.list = slices.Delete(n.list, i, i+1) // it may be gone by now, and is of no use a second time
		if err != nil {
			return nil, notShown(err)
		}
		return snap.State(), nil
	}
	return nil, nil
}

// notShown is err, but nil where it says that a node does not show its snapshots, or has one no longer.
func notShown(err error) error {
	switch wire.CodeOf(err) {
	case wire.CodeDenied, wire.CodeProtocol, wire.CodeNotFound:
		return nil
	}
	return err
}

// startOf is a state that entries before from may be applied to, nil where there is none.
func startOf(ctx context.Context, s Source, snaps *nodeSnapshots, from uint64) (*state.State, error) {
	folder, ok := s.(*Folder)
	if ok {
		st, err := folder.StateBefore(state.Index(from))
		if errors.As(err, new(*raftlog.CompactedError)) || errors.As(err, new(*raftlog.CorruptError)) {
			return nil, nil
		}
		return st, err
	}
	first, err := firstOf(ctx, s)
	if err == nil && first > 0 && from > max(fewTold, first) {
		st, err := snaps.pick(ctx, func(at uint64) bool { return at < from && at+1 >= first })
		if st != nil || err != nil {
			return st, err
		}
	}
	if err != nil || first != 1 || from > mostTold {
		return nil, err
	}
	return state.New(), nil
}

// firstOf is the first entry of a log, 0 for none.
func firstOf(ctx context.Context, s Source) (uint64, error) {
	if _, ok := s.(Node); ok {
		_, first, _, err := Bounds(ctx, s)
		return first, err
	}
	for e, err := range s.Entries(ctx, Range{}) {
		return e.Index(), err
	}
	return 0, nil
}

// whole reports whether the entry follows the one that st has, and all of its commands are known.
func whole(st *state.State, one *step) bool {
	if one.Index() != uint64(st.Applied)+1 && one.read == nil || one.read != nil && one.read.Err != nil {
		return false
	}
	for _, c := range one.commands {
		if c == nil {
			return false
		}
	}
	return !strings.HasPrefix(one.kind(), "unreadable")
}
