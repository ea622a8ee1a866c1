package mux

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/datanode/datanode/wire"
)

// Calls that begin or end by the hundred keep every processor busy for tens of milliseconds, in which the
// scheduler hardly looks whether another connection has something to read. What a peer can bring about at will
// is therefore done a few at a time.
const (
	// callsOnTrust is how many calls a connection may have in flight before any had its response. Each response
	// allows one more. Beyond that the reader pauses after each request; the peer's further ones wait where
	// they are. It keeps who fills connections with calls, only to open others once they are closed, from
	// making this side begin and end handlers all the time.
	callsOnTrust  = 64
	distrustPause = 5 * time.Millisecond
	// endAtOnce is how many handlers are told at once that the peer's connection has ended, and endPause
	// when the next ones are.
	endAtOnce = 16
	endPause  = time.Millisecond
)

// paceRequests makes the reader wait, when the calls in flight are more than the responses vouch for.
func (c *Conn) paceRequests(inFlight, responses int) {
	if inFlight-responses >= callsOnTrust {
		c.pause(distrustPause, c.done)
	}
}

// pause waits for d, or until stop is closed.
func (c *Conn) pause(d time.Duration, stop <-chan struct{}) {
	over := make(chan struct{})
	disarm := c.cfg.Clock.AfterFunc(d, func() { close(over) })
	defer disarm()
	select {
	case <-over:
	case <-stop:
	}
}

// cancelServedLocked tells the handlers of the connection's end: all when this side has ended it, else those
// beyond the first by and by.
func (c *Conn) cancelServedLocked(cause error) {
	served := slices.Collect(maps.Values(c.served))
	if cause == ErrClosed || len(served) <= endAtOnce { //nolint:errorlint // identity is meant
		c.cancelLocked(served, cause)
		return
	}
	c.cancelLocked(served[:endAtOnce], cause)
	c.wg.Add(1) // it is not zero: the writer needs the lock to learn that it should end
	go func() {
		defer c.wg.Done()
		for rest := range slices.Chunk(served[endAtOnce:], endAtOnce) {
			c.pause(endPause, nil)
			c.mu.Lock()
			c.cancelLocked(rest, cause)
			c.mu.Unlock()
		}
	}()
}

func (c *Conn) cancelLocked(served []*ServerCall, cause error) {
	for _, sc := range served {
		sc.cancelLocked(context.Canceled, connError(sc.op, wire.Unknown, c.peer.Node, cause))
	}
}
