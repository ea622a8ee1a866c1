package mux

import (
	"time"

	"github.com/datanode/datanode/wire"
)

// Stats is what a connection is doing, and has done.
type Stats struct {
	Peer     wire.Hello
	Dialed   bool // this side starts the calls
	Remote   string
	Since    time.Time
	InFlight struct {
		Calls     int // cancelled ones included, until their final frame
		Cancelled int
		ByOp      map[wire.OpType]int
		BySession map[wire.Session]int
		OldestAge time.Duration
	}
	QueuedFrames int
	BytesIn      uint64 // of frames; the hello included
	BytesOut     uint64
	FramesIn     uint64
	FramesOut    uint64
	CreditStalls uint64 // times that a sender had to wait for credit
	Mismatches   uint64
	Draining     bool // either side takes no new calls
}

// Stats takes stock.
func (c *Conn) Stats() Stats {
	now := c.cfg.Clock.Now()
	s := Stats{Peer: c.peer, Dialed: c.dialed, Remote: c.nc.RemoteAddr().String(), Since: c.since,
		BytesIn: c.counts.bytesIn.Load(), BytesOut: c.counts.bytesOut.Load(),
		FramesIn: c.counts.framesIn.Load(), FramesOut: c.counts.framesOut.Load(),
		CreditStalls: c.counts.stalls.Load(), Mismatches: c.counts.mismatches.Load()}
	s.InFlight.ByOp = make(map[wire.OpType]int)
	s.InFlight.BySession = make(map[wire.Session]int)
	c.mu.Lock()
	defer c.mu.Unlock()
	s.QueuedFrames = c.queue.length
	s.Draining = c.draining || c.peerDraining
	for _, cl := range c.calls {
		s.add(cl.callName, now.Sub(cl.start))
		if cl.state == callCancelled {
			s.InFlight.Cancelled++
		}
	}
	for _, sc := range c.served {
		s.add(sc.callName, now.Sub(sc.start))
		if sc.ctxErr != nil {
			s.InFlight.Cancelled++
		}
	}
	return s
}

func (s *Stats) add(name callName, age time.Duration) {
	s.InFlight.Calls++
	s.InFlight.ByOp[name.op]++
	s.InFlight.BySession[name.session]++
	s.InFlight.OldestAge = max(s.InFlight.OldestAge, age)
}
