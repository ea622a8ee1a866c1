package raftlog

import (
	"github.com/tidwall/btree"

	"github.com/datanode/datanode/raftlog/state"
)

// waiters are callers that wait for an index to be applied, by that index: an entry wakes those that waited for it,
// not the thousands whose index is yet to come, or never will. Not safe for concurrent use.
type waiters struct {
	byIndex btree.Map[state.Index, *waiter] // Invariant: each has a caller, and an index above the one applied
}

type waiter struct {
	reached chan struct{}
	callers int
}

// add is a channel that is closed when index is reached. drop must be called for each add that gives up.
func (w *waiters) add(index state.Index) <-chan struct{} {
	at, ok := w.byIndex.Get(index)
	if !ok {
		at = &waiter{reached: make(chan struct{})}
		w.byIndex.Set(index, at)
	}
	at.callers++
	return at.reached
}

// drop takes an add back, unless the index was reached meanwhile.
func (w *waiters) drop(index state.Index) {
	at, ok := w.byIndex.Get(index)
	if !ok {
		return
	}
	if at.callers--; at.callers == 0 {
		w.byIndex.Delete(index)
	}
}

// reach wakes all who wait for what is applied now.
func (w *waiters) reach(applied state.Index) {
	for {
		index, at, ok := w.byIndex.Min()
		if !ok || index > applied {
			return
		}
		w.byIndex.PopMin()
		close(at.reached)
	}
}
