package raftlog

import (
	"iter"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// ChainAt is the chain at an index, computed from the entries, and the first index for which that can be done.
func (s *Stored) ChainAt(index state.Index) (at ChainPoint, first state.Index, err error) {
	base, first, err := s.base()
	if err != nil {
		return at, first, err
	}
	if index < first {
		return at, first, &CompactedError{Asked: index, First: first}
	}
	at = base
	for _, p := range s.points { // those that an earlier call came by
		if p.Index <= index && p.Index > at.Index {
			at = p
		}
	}
	for l, err := range s.parsed(at.Index+1, index) {
		if err != nil {
			return at, first, err
		}
		at = chainAfter(at, l)
		s.notePoint(at)
	}
	if at.Index != index {
		return at, first, wire.Errorf(wire.OpLogChain, wire.CodeNotFound, "%s has no entry %d; it has %d to %d", s.dir, index,
			s.First, s.Last)
	}
	return at, first, nil
}

// storedPointEvery is how far apart the points lie that are kept while the chain is computed.
const storedPointEvery = 1024

func (s *Stored) notePoint(p ChainPoint) {
	if p.Index%storedPointEvery != 0 {
		return
	}
	if n := len(s.points); n == 0 || s.points[n-1].Index < p.Index {
		s.points = append(s.points, p)
	}
}

// base is a point that the entries go on from, and the index of it, or of the first entry.
func (s *Stored) base() (ChainPoint, state.Index, error) {
	if s.First <= 1 {
		return ChainPoint{}, s.First, nil
	}
	for i := range s.Snapshots {
		snap := &s.Snapshots[i]
		if snap.Err != nil {
			continue
		}
		if points := snap.points.from(s.First); len(points) > 0 {
			return points[0], points[0].Index, nil
		}
	}
	return ChainPoint{}, 0, &CompactedError{Asked: s.First, First: s.Last + 1}
}

// Change is what one entry did.
type Change struct {
	Results       []state.Result // of its commands
	Before, After *state.View
}

// Change applies the entries up to index to the newest snapshot before it, or to nothing. The error is a
// *CompactedError where neither is there any more.
func (s *Stored) Change(index state.Index) (Change, error) {
	var out Change
	st, err := s.before(index)
	if err != nil {
		return out, err
	}
	for r := range s.decoded(st.Applied+1, index) {
		if r.index == index && r.err == nil {
			out.Before = st.Snapshot()
		}
		if out.Results, err = r.apply(st); err != nil {
			return out, withFile(err, s.f.Name())
		}
	}
	if out.Before == nil {
		return out, s.noEntry(index)
	}
	out.After = st.Snapshot()
	return out, nil
}

// Between are the states after two entries, the second of which is not before the first. Both share what no entry in
// between has changed. Errors are those of Change.
func (s *Stored) Between(from, to state.Index) (before, after *state.View, err error) {
	if to > s.Last {
		return nil, nil, s.noEntry(to)
	}
	st, err := s.before(from + 1)
	if err != nil {
		return nil, nil, err
	}
	for r := range s.decoded(st.Applied+1, to) {
		if before == nil && r.index > from {
			before = st.Snapshot()
		}
		if _, err = r.apply(st); err != nil {
			return nil, nil, withFile(err, s.f.Name())
		}
	}
	after = st.Snapshot()
	if before == nil {
		before = after
	}
	return before, after, nil
}

func (s *Stored) noEntry(index state.Index) error {
	return wire.Errorf(wire.OpLogList, wire.CodeNotFound, "%s has no entry %d; it has %d to %d", s.dir, index, s.First,
		s.Last)
}

// StateAt is the state after an entry; 0 is the last one. Errors are those of Change.
func (s *Stored) StateAt(index state.Index) (*state.View, error) {
	if index == 0 {
		if index = s.Last; len(s.Snapshots) > 0 {
			index = max(index, s.Snapshots[len(s.Snapshots)-1].Applied.Index)
		}
	}
	st, err := s.before(index + 1)
	if err != nil {
		return nil, err
	}
	for r := range s.decoded(st.Applied+1, index) {
		if _, err = r.apply(st); err != nil {
			return nil, withFile(err, s.f.Name())
		}
	}
	if st.Applied < index && index > s.Last {
		return nil, s.noEntry(index)
	}
	return st.Snapshot(), nil
}

// Replay applies all entries, from the oldest snapshot that they go on from or from nothing, and hands each one's
// results to visit. It answers the state that they come to.
func (s *Stored) Replay(visit func(state.Index, []state.Result)) (*state.View, error) {
	st, err := s.before(s.firstReplayed())
	if err != nil {
		return nil, err
	}
	for r := range s.decoded(st.Applied+1, 0) {
		results, err := r.apply(st)
		if err != nil {
			return nil, withFile(err, s.f.Name())
		}
		visit(r.index, results)
	}
	return st.Snapshot(), nil
}

// StateBefore is a state that the entries up to Applied have led to, to which those from there on may be applied: that
// of the newest snapshot before index, or the empty one. Errors are those of Change.
func (s *Stored) StateBefore(index state.Index) (*state.State, error) { return s.before(max(index, 1)) }

// before is a state that the entries up to the one before index lead to, and that some of them may be applied to.
func (s *Stored) before(index state.Index) (*state.State, error) {
	if snap := s.snapshotBefore(index - 1); snap != nil && snap.Index+1 >= s.First {
		r, err := snap.state()
		return r.st, err
	}
	if s.First > 1 {
		return nil, &CompactedError{Asked: index, First: s.firstReplayed()}
	}
	return state.New(), nil
}

// parsed are the records from from to to, as the engine stored them; nothing follows an error. Each is good until the
// next one.
func (s *Stored) parsed(from, to state.Index) iter.Seq2[*raft.Log, error] {
	return func(yield func(*raft.Log, error) bool) {
		for r := range inOrder(s.records(from, to, false), storedRecord.parsed) {
			if !yield(r.log, withFile(r.err, s.f.Name())) || r.err != nil {
				return
			}
		}
	}
}

// decoded are the records from from to to with what is in them. Each is good until the next one, its commands for ever.
func (s *Stored) decoded(from, to state.Index) iter.Seq[decodedRecord] {
	return inOrder(s.records(from, to, false), storedRecord.decoded)
}

// decodedRecord is a record, and what is in it.
type decodedRecord struct {
	index, to state.Index
	log       *raft.Log // nil where it cannot be read
	entry     Entry     // of one with commands
	commands  []state.Command
	skip      bool  // it is unknown and may be ignored
	err       error // log cannot be read, or its commands cannot
}

func (r storedRecord) parsed() decodedRecord {
	l, err := r.parse()
	return decodedRecord{index: r.index, to: r.to, log: l, err: err}
}

func (r storedRecord) decoded() decodedRecord {
	out := r.parsed()
	if out.err == nil && out.log.Type == raft.LogCommand {
		out.entry, out.commands, out.skip, out.err = readEntry(r.index, out.log.Data)
	}
	return out
}

// firstReplayed is the first entry whose state before it is known.
func (s *Stored) firstReplayed() state.Index {
	if s.First <= 1 {
		return 1
	}
	for _, snap := range s.Snapshots {
		if snap.Err == nil && snap.Index+1 >= s.First {
			return snap.Applied.Index + 1
		}
	}
	return s.Last + 1
}

// apply applies the entry.
func (r *decodedRecord) apply(st *state.State) ([]state.Result, error) {
	if r.err != nil {
		return nil, r.err
	}
	if r.log.Type != raft.LogCommand || r.skip {
		st.Skip(r.index)
		return nil, nil
	}
	return st.Apply(r.index, r.entry.Micros, r.commands), nil
}
