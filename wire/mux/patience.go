package mux

import (
	"time"

	"github.com/datanode/datanode/wire"
)

// A peer may send patienceAtFirst frames that carry no work, pings, goaways, cancels and credits, and
// patiencePerSecond besides. Each call and chunk allows some more, until it may send patienceAtMost.
const (
	patienceAtFirst   = 256
	patienceAtMost    = 1024
	patiencePerSecond = 64
	patiencePerWork   = 4 // a call's cancel, and credits that come when it has ended
	// A request beyond the calls allowed in flight, which the peer knows, counts as so many.
	patienceForExcess = 16
	// maxUndecodable is how many requests on a connection may have a body that cannot be decoded. One counts
	// once more for each undecodableBytes: to receive a large one is what it costs.
	maxUndecodable   = 16
	undecodableBytes = 128 << 10
)

// patience bounds what a peer can make this side do for nothing. The calls allowed in flight and the
// credit bound everything else, but a ping asks for an answer and costs its sender nothing. The reader
// goroutine owns it.
type patience struct {
	left  int
	since time.Time // when left was last raised for time
}

func (p *patience) start(now time.Time) { p.left, p.since = patienceAtFirst, now }

// after counts a frame. The error says that there were too many.
func (p *patience) after(k wire.Kind, now func() time.Time) error {
	switch k {
	case wire.KindRequest, wire.KindResponse, wire.KindError, wire.KindChunk:
		p.left = min(p.left+patiencePerWork, patienceAtMost)
		return nil
	}
	return p.lose(1, now)
}

// lose counts n frames that carry no work.
func (p *patience) lose(n int, now func() time.Time) error {
	if p.left < n {
		t := now()
		p.left = min(p.left+int(t.Sub(p.since).Seconds()*patiencePerSecond), patienceAtMost)
		p.since = t
	}
	if p.left -= n; p.left < 0 {
		return fault("flood: too many frames that carry no work, want %d a second at most", patiencePerSecond)
	}
	return nil
}

// granted takes back the count of a credit that is worth more than an empty chunk. There are no more of
// those than chunks sent.
func (p *patience) granted(credit uint64) {
	if credit > wire.ChunkCost {
		p.left++
	}
}
