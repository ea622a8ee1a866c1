// Package diskhang finds out whether a node's disk hangs, whether under the log or the extents. A node whose disk hangs
// answers pings and does not apply new entries; it must say so itself, from memory, or the cell would wait for it.
// It is not ready until the disk answers, leads nobody, and lets go of those who wait for it.
//
// Watch.Run is its one goroutine, the caller's, and touches no disk. One lock guards a few words; nothing blocks under
// it.
package diskhang

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/replica"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

const (
	// After is how long a write to the store may take before the disk counts as hung. The log has its own limit.
	After = 2500 * time.Millisecond
	// Look is how often it is looked whether one does, and how often that is reported to the cell while one does.
	Look = 250 * time.Millisecond
)

// Log is what the watch needs of the operation log.
type Log interface {
	// Hangs says which write of the log hangs, nil for none, from memory.
	Hangs() error
	// HangChanged is closed when that changes.
	HangChanged() <-chan struct{}
	IsLeader() bool
	// TransferLeadership returns when another node leads, or ctx has ended.
	TransferLeadership(ctx context.Context) error
}

// Options are what a Watch needs; all must be set.
type Options struct {
	Node    state.NodeID
	Log     Log
	Longest func() time.Duration // how long the longest write to the store has taken so far, of those that go on
	HandOn  time.Duration        // how long handing the leadership on may take
	Clock   clock.Clock
	Logger  *slog.Logger
}

// Watch is whether the disk hangs. Its methods may be called from any goroutine.
type Watch struct {
	o Options

	mu     sync.Mutex
	why    error         // Guarded by mu. What hangs; nil: nothing.
	begins chan struct{} // Guarded by mu. Closed while the disk hangs.
	change chan struct{} // Guarded by mu. Closed and replaced whenever that changes.
}

// New makes the watch of a disk that does not hang yet.
func New(o Options) *Watch {
	return &Watch{o: o, begins: make(chan struct{}), change: make(chan struct{})}
}

// Err says what hangs, nil for nothing.
func (w *Watch) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.why
}

// begun is closed while the disk hangs.
func (w *Watch) begun() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.begins
}

// Changed is closed when a hang begins or ends.
func (w *Watch) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.change
}

// Run looks at the disk until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	for {
		log := w.o.Log.HangChanged()
		w.look(ctx)
		select {
		case <-log:
		case <-w.o.Clock.After(Look):
		case <-ctx.Done():
			return
		}
	}
}

func (w *Watch) look(ctx context.Context) {
	why := w.o.Log.Hangs()
	if longest := w.o.Longest(); why == nil && longest > After {
		why = wire.Errorf(0, wire.CodeUnavailable,
			"the disk hangs: a write to the store of %s has taken %s so far; ask another node",
			w.o.Node, longest.Round(100*time.Millisecond))
	}
	if !w.set(why) {
		return
	}
	if why == nil {
		w.o.Logger.Warn("the disk answers again")
		return
	}
	w.o.Logger.Warn("not ready until the disk answers", "error", why)
	if !w.o.Log.IsLeader() {
		return
	}
	limited, cancel := context.WithTimeout(ctx, w.o.HandOn)
	defer cancel()
	if err := w.o.Log.TransferLeadership(limited); err != nil {
		w.o.Logger.Warn("leadership not handed on", "error", err)
	}
}

// set answers whether a hang has begun or ended.
func (w *Watch) set(why error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.why != nil
	w.why = why
	if is := why != nil; is == was {
		return false
	}
	if why != nil {
		close(w.begins)
	} else {
		w.begins = make(chan struct{})
	}
	close(w.change)
	w.change = make(chan struct{})
	return true
}

// EachReplica is replica.Each, but when this node's disk hangs, or the further disk that gone is of is given up, it
// waits no longer. f goes on then, so that what it is
// given may not change any more.
func (w *Watch) EachReplica(
	e *state.Extent, gone <-chan struct{}, f func(state.NodeID) error,
) map[state.NodeID]error {
	hangs, done := w.begun(), make(chan map[state.NodeID]error, 1)
	go func() { done <- replica.Each(e, f) }()
	select {
	case errs := <-done:
		return errs
	case <-hangs:
	case <-gone:
	}
	return map[state.NodeID]error{w.o.Node: wire.Errorf(0, wire.CodeUnavailable, "the disk hangs")}
}
