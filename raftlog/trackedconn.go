package raftlog

import (
	"net"
	"sync"
	"time"
)

// pieceBytes is how much of a message has to leave within a deadline.
const pieceBytes = 128 << 10

// trackedConn is a connection of the engine's, which those streams know that may have to close it. A deadline for
// writing moves on with each piece that leaves: the engine (raft v1.7.3) sets one for a whole message, of up to
// maxAppendEntries, so that over a link too slow for it a follower would be sent the same message for ever.
type trackedConn struct {
	net.Conn
	of     *streams
	dialed bool // by this node

	mu    sync.Mutex
	until time.Time             // under mu; what the engine has set for writing; zero: nothing
	set   func(time.Time) error // under mu; moves that
}

func (c *trackedConn) Close() error {
	c.of.mu.Lock()
	delete(c.of.conns, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// SetDeadline is for the answer too, which may take as long after the last piece.
func (c *trackedConn) SetDeadline(t time.Time) error { return c.setUntil(t, c.Conn.SetDeadline) }

func (c *trackedConn) SetWriteDeadline(t time.Time) error {
	return c.setUntil(t, c.Conn.SetWriteDeadline)
}

func (c *trackedConn) setUntil(t time.Time, set func(time.Time) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until, c.set = t, set
	return set(t)
}

func (c *trackedConn) Write(p []byte) (n int, err error) {
	for {
		piece := p[n:min(n+pieceBytes, len(p))]
		wrote, err := c.Conn.Write(piece)
		n += wrote
		if err != nil {
			return n, err
		}
		if err := c.moved(); err != nil || n == len(p) {
			return n, err
		}
	}
}

// moved gives what follows rpcTimeout from now on. A deadline that is later, as of a snapshot, stays.
func (c *trackedConn) moved() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := time.Now().Add(rpcTimeout)
	if c.until.IsZero() || !next.After(c.until) {
		return nil
	}
	c.until = next
	return c.set(next)
}
