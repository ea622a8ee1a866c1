package replica

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
	"github.com/datanode/datanode/wire/mux"
)

// memLog is a log whose entries are lines of text. They are in its views after lag.
type memLog struct {
	lag time.Duration

	mu      sync.Mutex
	cell    *statetest.Cell // Guarded by mu.
	view    *state.View     // Guarded by mu.
	changed chan struct{}   // Guarded by mu.
}

func newMemLog(lines string) *memLog {
	l := &memLog{cell: statetest.New(), changed: make(chan struct{})}
	l.run(lines)
	return l
}

func (l *memLog) run(lines string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	got := l.cell.RunAll(lines)
	l.publishLocked()
	return got
}

// apply answers what commands come to, and in which entry.
func (l *memLog) apply(cmds ...state.Command) ([]state.Result, state.Index) {
	l.mu.Lock()
	defer l.mu.Unlock()
	got := l.cell.Apply(cmds...)
	l.publishLocked()
	return got, l.cell.State.Applied
}

func (l *memLog) publishLocked() {
	view := l.cell.State.Snapshot()
	show := func() {
		l.view = view
		close(l.changed)
		l.changed = make(chan struct{})
	}
	if l.lag == 0 {
		show()
		return
	}
	time.AfterFunc(l.lag, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		show()
	})
}

// op is the newest operation of a kind.
func (l *memLog) op(kind string) *state.Op {
	l.mu.Lock()
	defer l.mu.Unlock()
	id, _ := l.cell.Op(kind)
	return l.cell.State.Snapshot().Op(id)
}

func (l *memLog) View() *state.View {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.view
}

func (l *memLog) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

func (l *memLog) AppliedIndex() state.Index { return l.View().Applied }

func (l *memLog) WaitApplied(context.Context, state.Index) error { return nil }

func memStore(t *testing.T) *extent.Store {
	t.Helper()
	store, _, err := extent.Open(vfs.NewMem(), "/store", extent.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

func testClock() clock.Clock { return clock.Of(mux.Clock{}) }

func noLogger() *slog.Logger { return slog.New(slog.DiscardHandler) }
