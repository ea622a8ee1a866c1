package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// A node goes forward only: signals stay once they are given, and what comes too late changes nothing.
func TestLifecycleOnlyGoesForward(t *testing.T) {
	l := newLifecycle()
	if l.isReady() || l.isDraining() || isClosed(l.done) || l.ctx.Err() != nil {
		t.Error("a signal is there from the start")
	}
	l.becomeReady()
	l.becomeReady()
	if !l.isReady() || l.isDraining() || l.now != ready {
		t.Errorf("ready: phase %d", l.now)
	}
	l.drain()
	l.drain()
	if !l.isReady() || !l.isDraining() || l.ctx.Err() != nil || l.now != draining {
		t.Errorf("draining: phase %d", l.now)
	}
	l.stop(nil, func() {}, func() error { return nil })
	if l.ctx.Err() == nil || !isClosed(l.done) || l.now != stopped {
		t.Errorf("stopped: phase %d", l.now)
	}
	l.drain()
	l.becomeReady()
	if l.now != stopped {
		t.Errorf("back in phase %d", l.now)
	}
}

// A node that is drained while it starts may still catch up: what it serves ends then, it is not called down for it.
func TestLifecycleReadyWhileDraining(t *testing.T) {
	l := newLifecycle()
	l.drain()
	l.becomeReady()
	if !l.isReady() || l.now != draining {
		t.Errorf("ready %t, phase %d", l.isReady(), l.now)
	}
}

// Everybody who stops a node waits until it has stopped; it is stopped once, in order.
func TestLifecycleStopsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLifecycle()
		halted := make(chan struct{})
		var mu sync.Mutex
		var order []string
		note := func(what string) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, what)
		}
		l.run(func(ctx context.Context) {
			<-ctx.Done()
			<-halted // as a loop that waits for a peer
			note("loop")
		})
		first, second, closing := errors.New("first"), errors.New("second"), errors.New("closing")
		stop := func(why error) {
			l.stop(why, func() { note("halt"); close(halted) }, func() error { note("close"); return closing })
			if !isClosed(l.done) {
				t.Error("it returns before the node has stopped")
			}
		}
		go stop(first)
		synctest.Wait()
		stop(second)
		synctest.Wait()
		if want := []string{"halt", "loop", "close"}; !slices.Equal(order, want) {
			t.Errorf("stopped in the order %v, want %v", order, want)
		}
		if err := l.stopErr(); !errors.Is(err, first) {
			t.Errorf("it stopped for %v", err)
		}
		quiet := newLifecycle()
		quiet.stop(nil, func() {}, func() error { return closing })
		if err := quiet.stopErr(); !errors.Is(err, closing) {
			t.Errorf("it could not be closed, and says %v", err)
		}
	})
}

// A loop may stop the node while others are being started. Those that come too late do not run, as nobody would wait
// for them.
func TestLifecycleStopsWhileItStarts(t *testing.T) {
	l := newLifecycle()
	l.run(func(ctx context.Context) { <-ctx.Done() })
	late := make(chan struct{})
	l.stop(nil, func() { l.run(func(context.Context) { close(late) }) }, func() error {
		if isClosed(late) {
			t.Error("a loop runs that was started when the node had stopped")
		}
		return nil
	})
	if isClosed(late) {
		t.Error("a loop runs that was started when the node had stopped")
	}
}
