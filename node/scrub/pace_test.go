package scrub

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
	"github.com/datanode/datanode/wire/mux"
)

// What the scrub takes is spread over time, a pause is not made up for, and it yields to clients.
func TestPacer(t *testing.T) {
	const rate = 1000
	at := time.Unix(1_000_000, 0)
	var p pacer
	for i, step := range []struct {
		after time.Duration // since the step before
		bytes int
		busy  bool
		wait  time.Duration
	}{
		{0, 500, false, 0}, // the first is free
		{0, 500, false, 500 * time.Millisecond},
		{500 * time.Millisecond, 250, false, 500 * time.Millisecond}, // the one before was paid for just now
		{500 * time.Millisecond, 1000, false, 250 * time.Millisecond},
		{time.Hour, 1000, false, 0}, // no more than one at once after a pause
		{0, 500, true, time.Second},
		{time.Second, 500, true, 2 * time.Second}, // a quarter of the rate since a client is served
		{2 * time.Second, 0, false, 2 * time.Second},
		{2 * time.Second, 1, false, 0},
	} {
		at = at.Add(step.after)
		if got := p.take(at, step.bytes, rate, step.busy); got != step.wait {
			t.Errorf("step %d: waits %v, want %v", i, got, step.wait)
		}
	}
}

// Over a long time the rate is kept to, whatever the pieces are, when each is waited for.
func TestPacerKeepsTheRate(t *testing.T) {
	const rate = 1 << 20
	began := time.Unix(1_000_000, 0)
	at, total := began, 0
	var p pacer
	for i := range 10_000 {
		n := 1 + i*7919%(256<<10)
		at = at.Add(p.take(at, n, rate, false))
		total += n
	}
	want := time.Duration(float64(total) / rate * float64(time.Second))
	if got := at.Sub(began); got < want-time.Second || got > want {
		t.Errorf("%d bytes in %v, want %v", total, got, want)
	}
}

// At pace 0 nothing is read until the pace is another, or the node stops.
func TestPaceStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := statetest.New()
		c.RunAll("join n1\nset scrub-pace 0")
		var view atomic.Pointer[state.View]
		view.Store(c.State.Snapshot())
		s := New(Options{
			Clock: clock.Of(mux.Clock{}), View: view.Load, Busy: func() bool { return false },
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.pace(ctx, 1) }()
		select {
		case err := <-done:
			t.Fatalf("goes on at pace 0: %v", err)
		case <-time.After(2 * Look):
		}
		cancel()
		if err := <-done; err == nil {
			t.Fatal("told to end, and did not say so")
		}
		go func() { done <- s.pace(t.Context(), 1) }()
		synctest.Wait()
		c.RunAll("set scrub-pace 1Gi")
		view.Store(c.State.Snapshot())
		if err := <-done; err != nil {
			t.Errorf("with another pace: %v", err)
		}
	})
}
