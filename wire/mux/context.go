package mux

import (
	"context"
	"slices"
	"time"
)

// callContext is the context of a handler: a ServerCall by another name, so that a call needs no
// allocation for it, no timer unless someone waits, and no goroutine.
type callContext ServerCall

// Deadline is when the caller stops waiting.
func (x *callContext) Deadline() (time.Time, bool) { return x.deadline, !x.deadline.IsZero() }

// Value is always nil.
func (x *callContext) Value(any) any { return nil }

// Done is closed when the caller cancels, its deadline passes, the connection ends or the handler returns.
func (x *callContext) Done() <-chan struct{} {
	sc := (*ServerCall)(x)
	sc.c.mu.Lock()
	defer sc.c.mu.Unlock()
	if sc.ctxDone == nil {
		sc.ctxDone = make(chan struct{})
		if sc.ctxErr != nil {
			close(sc.ctxDone)
		}
		sc.armLocked()
	}
	return sc.ctxDone
}

// Err says why Done is closed.
func (x *callContext) Err() error {
	sc := (*ServerCall)(x)
	sc.c.mu.Lock()
	defer sc.c.mu.Unlock()
	if sc.ctxErr == nil && !sc.deadline.IsZero() && !sc.c.cfg.Clock.Now().Before(sc.deadline) {
		sc.expireLocked()
	}
	return sc.ctxErr
}

// armLocked starts the deadline's timer, when someone is about to wait.
func (sc *ServerCall) armLocked() {
	if sc.deadline.IsZero() || sc.unarm != nil || sc.ctxErr != nil {
		return
	}
	left := sc.deadline.Sub(sc.c.cfg.Clock.Now())
	sc.unarm = sc.c.cfg.Clock.AfterFunc(left, func() {
		sc.c.mu.Lock()
		defer sc.c.mu.Unlock()
		sc.expireLocked()
	})
}

func (sc *ServerCall) expireLocked() {
	sc.cancelLocked(context.DeadlineExceeded, ctxError(sc.op, 0, context.DeadlineExceeded))
}

// cancelLocked ends the handler's context with cause and, if the call is not answered, its chunks
// with over.
func (sc *ServerCall) cancelLocked(cause, over error) {
	if sc.ctxErr != nil {
		return
	}
	sc.ctxErr = cause
	if sc.ctxDone != nil {
		close(sc.ctxDone)
	}
	for _, w := range sc.watchers {
		go w.f()
	}
	sc.watchers = nil
	if sc.unarm != nil {
		sc.unarm()
	}
	if sc.over == nil {
		sc.endLocked(over)
		sc.discardLocked()
		if sc.c.err == nil { // else the writer drops what is queued, at once
			sc.c.unqueueLocked(&sc.half)
		}
	}
}

// watcher is a function to be run once a call's context has ended.
type watcher struct{ f func() }

// AfterFunc runs f in a goroutine of its own once the context has ended, unless it was stopped before. The
// contexts that package context derives from this one need no goroutine that waits, then.
func (x *callContext) AfterFunc(f func()) (stop func() bool) {
	sc := (*ServerCall)(x)
	sc.c.mu.Lock()
	defer sc.c.mu.Unlock()
	if sc.ctxErr != nil {
		go f()
		return func() bool { return false }
	}
	w := &watcher{f}
	sc.watchers = append(sc.watchers, w)
	sc.armLocked()
	return func() bool {
		sc.c.mu.Lock()
		defer sc.c.mu.Unlock()
		i := slices.Index(sc.watchers, w)
		if i >= 0 {
			sc.watchers = slices.Delete(sc.watchers, i, i+1)
		}
		return i >= 0
	}
}
