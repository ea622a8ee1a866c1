package plugins

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/tetratelabs/wazero/api"
)

// lane is a goroutine that makes the calls of one instance, one after the other, and can be left behind
// with one that does not return.
//
// It is a coroutine of iter.Pull: the caller and it hand over to each other directly, in 0.1 µs, as if
// the caller made the call itself. Over channels, which were here first, it takes 1.2 µs, and on a busy
// machine several times that: the scheduler wakes another processor for what this one is about to do,
// and the batch ends up in the wrong cache.
//
// The price is that a caller that waits can be woken in no other way than by handing back. So the
// watchdog does that in the goroutine's place: it calls yield, which must only follow a next, and waits
// there in turn until the guest is back. And iter.Pull wants its callers as free of a thread as who
// made the lane: no goroutine under runtime.LockOSThread may call a guest.
type lane struct {
	next  func() (inTime, ok bool) // hands over to the goroutine until somebody hands back
	stop  func()
	yield func(inTime bool) bool // hands back; set before the first call begins

	in    invocation    // the call to be made; written by the caller before it hands over
	limit time.Duration // of that call, as in
	out   outcome       // of the call that was made; written by the goroutine before it hands back

	gone  chan struct{} // closed when the caller of a lost call has left
	ended chan struct{} // closed when a lost call is back, and the goroutine gone

	mu       sync.Mutex
	turn     uint64        // guarded by mu; calls that have begun
	runs     bool          // guarded by mu; the last of them has not ended
	lost     bool          // guarded by mu; the watchdog has handed back for it
	watchdog *time.Timer   // guarded by mu; nil before the first call
	every    time.Duration // guarded by mu; how often the watchdog looks, 0 while it sleeps
	seen     uint64        // guarded by mu; the call that ran when it looked last
}

// maxArgs of an export.
const maxArgs = 3

// invocation is a call to be made.
type invocation struct {
	function api.Function
	args     [maxArgs]uint64
}

// outcome is the end of a call.
type outcome struct {
	result uint64
	err    error
}

// newLane makes a lane; guests are called under ctx.
func newLane(ctx context.Context) *lane {
	l := &lane{gone: make(chan struct{}), ended: make(chan struct{})}
	l.next, l.stop = iter.Pull(func(yield func(bool) bool) {
		l.yield = yield
		l.serve(ctx)
	})
	return l
}

// run makes a call. It comes back with the end of it, or with false once the call is lost: it has taken
// longer than limit, up to twice as long, and still runs. The lane cannot be used again then; ended tells
// when it is back.
func (l *lane) run(in invocation, limit time.Duration) (outcome, bool) {
	l.in, l.limit = in, limit
	if inTime, _ := l.next(); !inTime {
		close(l.gone)
		return outcome{}, false
	}
	return l.out, true
}

// close ends a lane that runs nothing.
func (l *lane) close() {
	l.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watchdog != nil {
		l.watchdog.Stop()
	}
}

// serve is the goroutine.
func (l *lane) serve(ctx context.Context) {
	for {
		l.begin()
		stack := l.in.args[:] // the result takes the place of the first argument
		err := l.in.function.CallWithStack(ctx, stack)
		if !l.end() {
			<-l.gone // or the end of the sequence would race with the caller's way out of next
			return
		}
		l.out = outcome{stack[0], err}
		if !l.yield(true) {
			return
		}
	}
}

// begin wakes the watchdog, unless it is still awake from an earlier call: to set a timer for each call
// and stop it again would take longer than handing over.
func (l *lane) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn++
	l.runs = true
	if l.every == l.limit {
		return
	}
	l.every = l.limit
	if l.watchdog == nil {
		l.watchdog = time.AfterFunc(l.every, l.look)
	} else {
		l.watchdog.Reset(l.every)
	}
}

// end reports whether it is for the goroutine to hand back: not if the watchdog has done so.
func (l *lane) end() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs = false
	return !l.lost
}

// look is the watchdog.
func (l *lane) look() {
	if !l.lose() {
		return
	}
	l.yield(false) // comes back when serve is over
	close(l.ended)
}

// lose reports whether the call that runs is lost: it did so already when the watchdog looked last.
func (l *lane) lose() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !l.runs:
		l.every = 0
	case l.seen != l.turn:
		l.seen = l.turn
		l.watchdog.Reset(l.every)
	default:
		l.lost = true
	}
	return l.lost
}
