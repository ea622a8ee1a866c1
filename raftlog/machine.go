package raftlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
)

// machine is what the engine applies entries to. The engine's goroutine calls ApplyBatch, Snapshot
// and Restore, one at a time; all other methods may be called from anywhere.
type machine struct {
	cell string
	fail func(error) // called once, without mu
	log  raft.LogStore

	// view caches the snapshot of st; nil once st has changed. Written under mu.
	view atomic.Pointer[state.View]

	mu      sync.Mutex
	st      *state.State // under mu
	chain   ChainPoint   // under mu. Invariant: chain.Index == st.Applied
	points  chainPoints  // under mu
	recent  recentPoints // under mu
	expect  mark         // under mu; applied before the start: the chain must come by it. Zero once it has, or may have
	floor   state.Index  // entries of the log up to here were applied before the start; written before the engine starts
	covered state.Index  // under mu; entries up to here are in the snapshot that st came from
	unsure  bool         // under mu; that snapshot does not say so, and nothing was applied since
	waiters waiters      // under mu
	changed chan struct{}
	err     error // under mu; why nothing is applied any more

	restoreErr error // why the last Restore failed; the engine keeps it to its log. Read after startup only
}

func newMachine(cell string, fail func(error)) *machine {
	return &machine{cell: cell, fail: fail, st: state.New(), points: chainPoints{{}}, changed: make(chan struct{})}
}

// applied is the response to an entry that was applied.
type applied struct {
	results []state.Result
	term    uint64 // of the entry
}

// Apply is here to satisfy the engine, which uses ApplyBatch.
func (m *machine) Apply(l *raft.Log) any { return m.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch applies entries that are committed. The responses are of type applied or error.
func (m *machine) ApplyBatch(logs []*raft.Log) []any {
	responses := make([]any, len(logs))
	m.mu.Lock()
	before := m.err
	m.view.Store(nil)
	for i, l := range logs {
		if m.err == nil {
			responses[i], m.err = m.applyLocked(l)
		}
		if m.err != nil {
			responses[i] = m.err
		}
	}
	now := m.err
	m.announceLocked()
	m.mu.Unlock()
	if before == nil && now != nil {
		m.fail(now)
	}
	return responses
}

func (m *machine) applyLocked(l *raft.Log) (any, error) {
	index := state.Index(l.Index)
	if err := m.followsLocked(index); err != nil {
		return nil, err
	}
	next := chainAfter(m.chain, l)
	if err := errors.Join(m.basedHereLocked(l), m.passesLocked(next)); err != nil {
		return nil, err
	}
	if l.Type != raft.LogCommand {
		m.st.Skip(index)
		m.chainLocked(next)
		return applied{term: l.Term}, nil
	}
	e, commands, skip, err := readEntry(index, l.Data)
	if err != nil {
		return nil, err
	}
	m.points = m.points.add(next)
	m.chainLocked(next)
	if skip {
		m.st.Skip(index)
		return applied{term: l.Term}, nil
	}
	return applied{m.st.Apply(index, e.Micros, commands), l.Term}, nil
}

// passesLocked reports whether the chain comes by what was applied here before the start.
func (m *machine) passesLocked(next ChainPoint) error {
	switch {
	case m.expect.Index == 0 || next.Index < m.expect.Index:
		return nil
	case next != m.expect:
		return &PartedError{Index: m.expect.Index, Ours: m.expect, Theirs: next, With: "the log as it is now"}
	}
	m.expect = mark{}
	return nil
}

// basedHereLocked reports whether the leader that made an entry had this node's history.
func (m *machine) basedHereLocked(l *raft.Log) error {
	index, hash, ok := baseOf(l)
	if !ok {
		return nil
	}
	ours := m.chain
	if index != ours.Index {
		if ours, ok = m.recent.at(index); !ok {
			return nil
		}
	}
	if bytes.Equal(ours.Hash[:baseHashBytes], hash) {
		return nil
	}
	theirs := ChainPoint{Index: index}
	copy(theirs.Hash[:], hash)
	return &PartedError{
		Index: index, Ours: ours, Theirs: theirs, With: "the leader of term " + strconv.FormatUint(l.Term, 10),
		What: "it has sent entry " + strconv.FormatUint(l.Index, 10),
	}
}

func (m *machine) chainLocked(now ChainPoint) {
	m.unsure = false
	m.chain = now
	m.recent.add(now)
}

const notWhatItWas = "the log or its snapshot is not what it was; " + wayOut

// followsLocked reports whether the entry at index is the next one for the state. What lies between must be entries of
// the engine's own that it does not pass on.
func (m *machine) followsLocked(index state.Index) error {
	at := m.st.Applied
	if index <= at {
		return atIndex(index, corrupt("it comes after %d, which is applied: %s", at, notWhatItWas))
	}
	for i := max(at, m.covered) + 1; i < index; i++ {
		l := new(raft.Log)
		if err := m.log.GetLog(uint64(i), l); errors.Is(err, raft.ErrLogNotFound) && m.unsure {
			continue // the engine's own entries at the end of what the snapshot stands for
		} else if err != nil {
			return atIndex(i, corrupt("it was passed over between %d and %d: %s", at, index, err.Error()))
		}
		if l.Type == raft.LogCommand || l.Type == raft.LogConfiguration {
			return atIndex(i, corrupt("it was passed over between %d and %d: %s", at, index, notWhatItWas))
		}
	}
	return nil
}

// announceLocked wakes all who wait for a change, or for an index that is applied now.
func (m *machine) announceLocked() {
	m.waiters.reach(m.st.Applied)
	close(m.changed)
	m.changed = make(chan struct{})
}

// read is the state as it is now.
func (m *machine) read() *state.View {
	if v := m.view.Load(); v != nil {
		return v
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.readLocked()
}

func (m *machine) readLocked() *state.View {
	v := m.view.Load()
	if v == nil {
		v = m.st.Snapshot()
		m.view.Store(v)
	}
	return v
}

// progress is how far entries are applied, and what is closed when that changes.
func (m *machine) progress() (state.Index, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.st.Applied, m.changed
}

// await is closed when index is applied; nil if it is. giveUp is to be called in the end.
func (m *machine) await(index state.Index) (reached <-chan struct{}, giveUp func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.st.Applied >= index {
		return nil, func() {}
	}
	return m.waiters.add(index), func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.waiters.drop(index)
	}
}

// pointAt is the chain at an entry that was applied lately, or at one of the points.
func (m *machine) pointAt(index state.Index) (ChainPoint, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.chain.Index == index {
		return m.chain, true
	}
	if p, ok := m.recent.at(index); ok {
		return p, true
	}
	return m.points.at(index)
}

// expected is what was applied before the start and not since.
func (m *machine) expected() mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.expect
}

// chainState is the chain now, and older points of it.
func (m *machine) chainState() (ChainPoint, chainPoints) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.chain, m.points
}

// Snapshot takes no longer than a View does.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return nil, m.err
	}
	return &snapshot{view: m.readLocked(), chain: m.chain, points: m.points}, nil
}

// Restore replaces the state by a snapshot, once the snapshot has proved whole.
func (m *machine) Restore(r io.ReadCloser) error {
	s, err := readSnapshot(r)
	if err == nil && s.st.Cell != "" && m.cell != "" && s.st.Cell != m.cell {
		err = fmt.Errorf("the snapshot is of cell %s, this node belongs to %s", s.st.Cell, m.cell)
	}
	m.restoreErr = err
	if err != nil {
		return err
	}
	return m.replace(s)
}

// replace has the state of a snapshot take the place of m's, unless it is one of another history.
func (m *machine) replace(s restored) error {
	m.mu.Lock()
	err := m.leadsHereLocked(s.snapshotHead)
	if err != nil {
		m.mu.Unlock()
		m.fail(err)
		return err
	}
	defer m.mu.Unlock()
	m.st, m.chain, m.points, m.covered = s.st, s.chain, s.points, state.Index(s.covers.Index)
	m.unsure = !s.covers.known()
	m.recent.add(s.chain)
	if m.expect.Index <= s.chain.Index {
		m.expect = mark{}
	}
	m.view.Store(nil)
	m.announceLocked()
	return nil
}

// leadsHereLocked reports whether a snapshot may follow what is applied here.
func (m *machine) leadsHereLocked(s snapshotHead) error {
	ours := m.chain
	if at, ok := s.points.at(m.expect.Index); m.expect.Index != 0 && ok && at != m.expect {
		ours = m.expect
	} else if s.chain.Index > ours.Index || s.chain == ours {
		return nil
	}
	return &PartedError{
		Index: ours.Index, Ours: ours, Theirs: s.chain, With: "a snapshot", What: "it would have replaced the state",
	}
}
