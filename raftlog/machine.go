package raftlog

import (
	"errors"
	"fmt"
	"io"
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
type applied struct{ results []state.Result }

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
	if l.Type != raft.LogCommand {
		m.st.Skip(index)
		m.chain.Index = index
		return applied{}, nil
	}
	e, commands, skip, err := readEntry(index, l.Data)
	if err != nil {
		return nil, err
	}
	m.unsure = false
	m.chain = m.chain.next(index, l.Term, l.Data)
	m.points = m.points.add(m.chain)
	if skip {
		m.st.Skip(index)
		return applied{}, nil
	}
	return applied{m.st.Apply(index, e.Micros, commands)}, nil
}

const notWhatItWas = "the log or its snapshot is not what it was; " + wayOut

// followsLocked tells whether the entry at index is the next one for the state. What lies between must be entries of
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
	m.mu.Lock()
	defer m.mu.Unlock()
	m.st, m.chain, m.points, m.covered = s.st, s.chain, s.points, state.Index(s.covers.Index)
	m.unsure = !s.covers.known()
	m.view.Store(nil)
	m.announceLocked()
	return nil
}
