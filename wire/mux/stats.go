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
		ByKind    map[CallKind]int
		Oldest    CallKind // zero: there is none
		OldestAge time.Duration
	}
	Sessions     []SessionStats // those in use, in their order
	QueuedFrames int
	BytesIn      uint64 // of frames; the hello included
	BytesOut     uint64
	FramesIn     uint64
	FramesOut    uint64
	CreditStalls uint64 // times that a sender had to wait for credit
	Mismatches   uint64
	Draining     bool // either side takes no new calls
}

// CallKind is an operation type in a session.
type CallKind struct {
	Op      wire.OpType
	Session wire.Session
}

// SessionStats is what a session of a connection is doing.
type SessionStats struct {
	Session wire.Session
	Calls   int // in flight
	Credit  int // bytes of chunks that may still be sent
	Waiting int // calls that want to send more than that
	Held    int // bytes of chunks received and not yet granted back
}

// Stats takes stock.
func (c *Conn) Stats() Stats {
	now := c.cfg.Clock.Now()
	s := Stats{Peer: c.peer, Dialed: c.dialed, Remote: c.nc.RemoteAddr().String(), Since: c.since,
		BytesIn: c.counts.bytesIn.Load(), BytesOut: c.counts.bytesOut.Load(),
		FramesIn: c.counts.framesIn.Load(), FramesOut: c.counts.framesOut.Load(),
		CreditStalls: c.counts.stalls.Load(), Mismatches: c.counts.mismatches.Load()}
	s.InFlight.ByKind = make(map[CallKind]int)
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
	s.Sessions = c.sessionStatsLocked(&s)
	return s
}

// sessionStatsLocked describes the sessions that have calls, or bytes on the way.
func (c *Conn) sessionStatsLocked(stats *Stats) []SessionStats {
	calls := [sessionSlots]int{}
	for kind, n := range stats.InFlight.ByKind {
		calls[kind.Session] += n
	}
	var out []SessionStats
	for i := range c.sessions {
		s := &c.sessions[i]
		if calls[i] > 0 || s.credit < int(c.peer.SessionWindowBytes) || s.used > 0 {
			out = append(out, SessionStats{wire.Session(i), calls[i], s.credit, len(s.waiting), s.used})
		}
	}
	return out
}

func (s *Stats) add(name callName, age time.Duration) {
	kind := CallKind{name.op, name.session}
	s.InFlight.Calls++
	s.InFlight.ByKind[kind]++
	if s.InFlight.Oldest == (CallKind{}) || age > s.InFlight.OldestAge {
		s.InFlight.Oldest, s.InFlight.OldestAge = kind, age
	}
}
