package mux

import (
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

const (
	// silentTicks is how often in a row a connection must be found silent. One tick proves nothing: this process
	// may have been stopped itself, or have had no processor.
	silentTicks = 4
	// pingsWithinSilence is how many pings are sent within the silence that a connection is given.
	pingsWithinSilence = 3
)

// hearing notes that bytes arrive, the middle of a large frame included: how long that takes on a slow line
// says nothing about whether the peer is there.
type hearing struct {
	net.Conn
	heard atomic.Bool
}

func (h *hearing) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	if n > 0 && !h.heard.Load() {
		h.heard.Store(true)
	}
	return n, err
}

// silence ends a connection between nodes from which nothing at all arrives any more. The answer to a ping is
// waited for much longer, since it may stand behind megabytes on a slow line; but as both sides ping each
// other, something always arrives on a connection that works both ways. Conn.mu owns stop.
type silence struct {
	ticks int // silent ones in a row; the timer owns it
	stop  func() bool
}

// betweenNodes reports whether silence on this connection means that it is broken. A client may be stopped for a
// while, or be another program, which does not ping.
func (c *Conn) betweenNodes() bool {
	return c.cfg.Silence > 0 && c.cfg.PingEvery > 0 && c.cfg.Hello.Node != "" && c.peer.Node != ""
}

func (c *Conn) startListening() {
	if !c.betweenNodes() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.silence.stop = c.cfg.Clock.AfterFunc(c.cfg.Silence/silentTicks, c.silenceTick)
	}
}

func (c *Conn) silenceTick() {
	if c.ears.heard.Swap(false) {
		c.silence.ticks = 0
	} else if c.silence.ticks++; c.silence.ticks >= silentTicks {
		c.fail(fmt.Errorf("nothing has been heard of the peer for %s", c.cfg.Silence.Round(time.Millisecond)))
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.silence.stop = c.cfg.Clock.AfterFunc(c.cfg.Silence/silentTicks, c.silenceTick)
	}
}

func (s *silence) stopLocked() {
	if s.stop != nil {
		s.stop()
	}
}
