package node

import (
	"context"
	"sync"
)

// nodePhase is how far a node has come. A node only ever goes forward, and may leave phases out: one that is stopped
// while it starts is never ready.
type nodePhase int

const (
	starting nodePhase = iota + 1 // opens its folder, joins, catches up with the log
	ready                         // serves
	draining                      // lets the calls that run end; takes no new ones, and calls that only wait end
	stopping                      // its context has ended, its goroutines end
	stopped                       // all have ended, and its files are closed
)

// lifecycle is the phases of one node, and the goroutines that live as long as it. Its methods may be called from any
// goroutine.
type lifecycle struct {
	ctx context.Context // ends when the node stops; handed to its goroutines
	end context.CancelFunc

	caughtUp chan struct{} // closed when the node has become ready; it stays so while it drains
	drains   chan struct{} // closed when draining begins
	done     chan struct{} // closed when the node has stopped

	loops sync.WaitGroup // added to with mu held, and not once the node stops: then it is waited for

	mu  sync.Mutex
	now nodePhase // Guarded by mu. Invariant: never falls
	err error     // Guarded by mu. Why the node stopped; set before done is closed.
}

func newLifecycle() *lifecycle {
	l := &lifecycle{
		caughtUp: make(chan struct{}), drains: make(chan struct{}), done: make(chan struct{}), now: starting,
	}
	l.ctx, l.end = context.WithCancel(context.Background())
	return l
}

// reach goes on to a phase, and reports whether it was not there before.
func (l *lifecycle) reach(p nodePhase) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p <= l.now {
		return false
	}
	l.now = p
	switch p {
	case draining:
		close(l.drains)
	case stopping:
		l.end()
	}
	return true
}

// becomeReady says that the node has caught up with the log. A node may do so while it drains already; that does not
// take it back.
func (l *lifecycle) becomeReady() {
	l.reach(ready)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !isClosed(l.caughtUp) {
		close(l.caughtUp)
	}
}

// isReady reports whether the node has ever caught up with the log since it started.
func (l *lifecycle) isReady() bool { return isClosed(l.caughtUp) }

// drain begins draining.
func (l *lifecycle) drain() { l.reach(draining) }

// isDraining reports whether draining has begun.
func (l *lifecycle) isDraining() bool { return isClosed(l.drains) }

// run runs a loop of the node's own, in a goroutine that stop waits for. One that comes when the node stops, as an
// earlier one may have it do, does not run.
func (l *lifecycle) run(loop func(context.Context)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now < stopping {
		l.loops.Go(func() { loop(l.ctx) })
	}
}

// stop ends the node, once, and returns when that is done: the context, then halt, which lets go of whatever loops may
// wait for, then the loops, then closeAll. The first caller's why is the node's error, or else closeAll's.
func (l *lifecycle) stop(why error, halt func(), closeAll func() error) {
	if l.reach(stopping) {
		halt()
		l.loops.Wait()
		err := closeAll()
		if why != nil {
			err = why
		}
		l.mu.Lock()
		l.now, l.err = stopped, err
		l.mu.Unlock()
		close(l.done)
	}
	<-l.done
}

// stopErr is why the node has stopped, nil before.
func (l *lifecycle) stopErr() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
