package mux

import (
	"fmt"
	"math/rand/v2"

	"github.com/datanode/datanode/wire"
)

// maxPingStep bounds the random step from one ping's number to the next. A peer that does not read has
// to guess it, or else is found dead.
const maxPingStep = 1 << 16

// pinger finds out that the peer is dead. Each ping must be answered within a time, whatever else
// arrives: a peer that sends but never reads does not answer either. Conn.mu owns it.
type pinger struct {
	sent    uint64 // number of the last ping
	waiting bool   // for the answer to it
	stop    func() bool
	owed    uint64 // the peer's last ping, to be answered; 0: none. At most one answer is queued.
}

func (p *pinger) stopLocked() {
	if p.stop != nil {
		p.stop()
	}
}

func (c *Conn) startPings() {
	if c.cfg.PingEvery < 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.ping.stop = c.cfg.Clock.AfterFunc(c.cfg.PingEvery, c.pingTick)
	}
}

// pingTick is called when it is time to ping, or when the answer is overdue.
func (c *Conn) pingTick() {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	if c.ping.waiting {
		c.mu.Unlock()
		c.fail(fmt.Errorf("peer did not answer a ping within %s", c.cfg.PingTimeout))
		return
	}
	c.trimHandlers()
	c.ping.sent += 1 + rand.Uint64N(maxPingStep)
	c.ping.waiting = true
	c.pushControlLocked(outFrame{hdr: wire.Header{Kind: wire.KindPing, ID: c.ping.sent}})
	c.ping.stop = c.cfg.Clock.AfterFunc(c.cfg.PingTimeout, c.pingTick)
	c.mu.Unlock()
}

func (c *Conn) onPing(in *incoming) error {
	if in.ID == 0 {
		return fault("ping without a number")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ping.owed == 0 {
		c.pushControlLocked(outFrame{hdr: wire.Header{Kind: wire.KindPong}})
	}
	c.ping.owed = in.ID
	return nil
}

func (c *Conn) onPong(in *incoming) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ping.waiting || in.ID != c.ping.sent {
		return c.mismatch(MismatchPong, in, nil, "no such ping is waiting")
	}
	c.ping.waiting = false
	c.ping.stop()
	if c.err == nil {
		c.ping.stop = c.cfg.Clock.AfterFunc(c.cfg.PingEvery, c.pingTick)
	}
	return nil
}
