package lead

import (
	"github.com/datanode/datanode/wire"
)

// enter puts submissions into the lines of their sharers. leave takes out those that are not being decided yet, and
// reports whether they are all.
func (a *admission) enter(subs []*Submission) (leave func() (all bool)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	leaves := make([]func() bool, 0, len(subs))
	for _, s := range subs {
		s.done = make(chan admitted, 1)
		out := a.queue.Push(s.Sharer, s)
		if out == nil {
			a.turnedAway++
			s.done <- admitted{err: wire.Errorf(wire.OpSubmit, wire.CodeExhausted,
				"%d submissions of %s wait already, or %d of all; try again in a moment", maxWaitingEach, s.Sharer, maxWaiting)}
			continue
		}
		leaves = append(leaves, out)
	}
	select {
	case a.news <- struct{}{}:
	default:
	}
	return func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		all := true
		for _, out := range leaves {
			all = out() && all
		}
		return all
	}
}

// batch takes what is decided together next: sharers take turns.
func (a *admission) batch() (batch []*Submission) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(batch) < decideAtOnce {
		_, s, ok := a.queue.Next(nil)
		if !ok {
			break
		}
		batch = append(batch, s)
	}
	return batch
}

// tally is how many submissions wait to be decided, and how many were refused since the start.
func (a *admission) tally() (waiting int, turnedAway uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.queue.Len(), a.turnedAway
}
