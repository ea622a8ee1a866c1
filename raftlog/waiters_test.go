package raftlog

import (
	"context"
	"errors"
	"testing"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// An entry wakes those who wait for it and nobody else, and who gives up leaves nothing behind.
func TestWaiters(t *testing.T) {
	var w waiters
	first, again, later := w.add(5), w.add(5), w.add(7)
	woken := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	w.reach(4)
	if woken(first) || woken(again) || woken(later) {
		t.Fatal("woken before its index")
	}
	w.drop(5)
	w.reach(6)
	if !woken(first) || !woken(again) || woken(later) {
		t.Errorf("at 6 those of 5 are woken %t and %t, that of 7 %t", woken(first), woken(again), woken(later))
	}
	w.drop(5) // it gave up just when it was reached
	w.drop(7)
	if n := w.byIndex.Len(); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// A thousand callers wait for their own index each, and as many for one that never comes.
func TestWaitApplied(t *testing.T) {
	c := newCell(t, 1, nil)
	g := c.leader()
	ctx, cancel := context.WithCancel(testContext(t))
	from := g.AppliedIndex()
	const callers = 1000
	done, never := make(chan error, callers), make(chan error, callers)
	for i := range state.Index(callers) {
		go func() {
			err := g.WaitApplied(ctx, from+1+i%50)
			if err == nil && g.AppliedIndex() < from+1+i%50 {
				err = errors.New("back before its entry")
			}
			done <- err
		}()
		go func() { never <- g.WaitApplied(ctx, from+1_000_000+i) }()
	}
	fill(t, g, "a", 50)
	for range callers {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	for range callers {
		if err := <-never; wire.CodeOf(err) != wire.CodeCancelled {
			t.Fatal(err)
		}
	}
	g.machine.mu.Lock()
	defer g.machine.mu.Unlock()
	if n := g.machine.waiters.byIndex.Len(); n != 0 {
		t.Errorf("%d waiters are left", n)
	}
}
