// Package clock is the node's clock: the system's, or one that a test moves. It decides nothing but delays; the cell's
// time is the leader's, in the entries of the log.
//
// It starts no goroutine and has no lock. A Clock is a value, and may be used from any goroutine.
package clock

import (
	"time"

	"github.com/datanode/datanode/wire/mux"
)

// Clock is the clock of connections, with what a select needs. Make it with Of.
type Clock struct{ mux.Clock }

// Of is a clock whose functions are c's, and the system's where c has none.
func Of(c mux.Clock) Clock {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.AfterFunc == nil {
		c.AfterFunc = func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
	}
	return Clock{c}
}

// After is closed when d has gone by. Unlike time.After it costs a goroutine only at that moment, and none is left
// behind by a caller who waits no longer.
func (c Clock) After(d time.Duration) <-chan struct{} {
	done := make(chan struct{})
	c.AfterFunc(d, func() { close(done) })
	return done
}
