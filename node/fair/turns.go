// Package fair has callers share what is scarce by turns: a Queue in which each has a line of its own, and Turns at a
// class of work, of which only so many run at once. Nobody waits behind all that another has asked for, and whoever
// has worked for long rests before the next turn.
//
// It starts no goroutine; a rest ends on the clock's. A Queue belongs to its caller's lock. Turns has one lock, which
// is never held while anybody waits.
package fair

import (
	"context"
	"sync"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/wire"
)

const (
	// MaxTurnsWaiting bounds those that wait for a turn at one class of work, and MaxTurnsWaitingEach those of one
	// sharer. One more is refused: it may ask again, or another node.
	MaxTurnsWaiting     = 1024
	MaxTurnsWaitingEach = 64
	// refuseAfter is how long a call is held that is refused: who asks again at once must not be busier for it.
	refuseAfter = 500 * time.Millisecond
)

// Options are the rules of one class of work. With the zero value nothing ever runs.
type Options struct {
	Work   string // names it in errors
	AtOnce int    // how many run at once
	// Pause is closed when d has gone by, for calls that are refused; nil: they are refused at once.
	Pause func(d time.Duration) <-chan struct{}
	Pace  clock.Clock // by which those rest who have worked for long; zero: nobody rests
}

// Turns shares out one class of work. Its methods may be called from any goroutine.
type Turns struct {
	options Options

	mu         sync.Mutex
	running    map[string]int     // Guarded by mu. By sharer, with those that rest.
	count      int                // Guarded by mu. Those that do not rest. Invariant: at most AtOnce
	waiting    Queue[chan<- bool] // Guarded by mu. Each has room for the token.
	turnedAway uint64             // Guarded by mu.
	pace       pace               // Guarded by mu.
}

// NewTurns makes the turns at a class of work.
func NewTurns(o Options) *Turns {
	return &Turns{options: o, running: map[string]int{}, pace: pace{clock: o.Pace},
		waiting: Queue[chan<- bool]{Most: MaxTurnsWaiting, MostEach: MaxTurnsWaitingEach}}
}

// AtOnce is how many run at once.
func (t *Turns) AtOnce() int { return t.options.AtOnce }

// Take waits for a turn of the sharer. done ends it, and is called once. The error is the context's, or, with code
// exhausted, that too many wait already.
func (t *Turns) Take(ctx context.Context, sharer string) (done func(), err error) {
	t.mu.Lock()
	turn := make(chan bool, 1)
	leave := t.waiting.Push(sharer, turn)
	if leave == nil {
		t.turnedAway++
		t.mu.Unlock()
		return nil, t.refuse(ctx, sharer)
	}
	t.giveLocked()
	t.mu.Unlock()
	select {
	case <-turn:
		began := t.began()
		return func() { t.end(sharer, began) }, nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	left := leave()
	t.mu.Unlock()
	if !left { // it was given at this moment
		t.end(sharer, t.began())
	}
	return nil, ctx.Err()
}

func (t *Turns) refuse(ctx context.Context, sharer string) error {
	if t.options.Pause != nil {
		select {
		case <-t.options.Pause(refuseAfter):
		case <-ctx.Done():
		}
	}
	e := wire.Errorf(0, wire.CodeExhausted,
		"%d calls of %s wait for a turn at %s already, or as many as may of all; ask again in a moment, or another node",
		MaxTurnsWaitingEach, sharer, t.options.Work)
	e.RetryAfter = refuseAfter
	return e
}

func (t *Turns) began() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pace.now()
}

// end gives the place to the next at once. Who has worked for long rests first: until then the place counts as its own.
func (t *Turns) end(sharer string, began time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count--
	rest := t.pace.worked(sharer, began)
	if rest == 0 {
		t.endRestLocked(sharer)
	} else {
		t.pace.clock.AfterFunc(rest, func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.endRestLocked(sharer)
			t.giveLocked()
		})
	}
	t.giveLocked()
}

func (t *Turns) endRestLocked(sharer string) {
	if t.running[sharer]--; t.running[sharer] == 0 {
		delete(t.running, sharer)
	}
}

// giveLocked gives turns while there are places. Nobody has all of them as long as there are two: a caller that asks
// for eight hundred things gets what is left by the others.
func (t *Turns) giveLocked() {
	for t.count < t.options.AtOnce {
		sharer, turn, ok := t.waiting.Next(func(s string) bool { return t.running[s] < max(1, t.options.AtOnce-1) })
		if !ok {
			return
		}
		t.count++
		t.running[sharer]++
		turn <- true
	}
}

// Tally is how many run, how many wait, and how many were refused since the start.
func (t *Turns) Tally() (running, waiting int, turnedAway uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count, t.waiting.Len(), t.turnedAway
}

// NoRests has nobody rest from now on, which tests need that keep places for long.
func (t *Turns) NoRests() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pace.clock = clock.Clock{}
}
