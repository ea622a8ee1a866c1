package mux

import (
	"time"

	"github.com/datanode/datanode/wire"
)

// A peer may send so many frames that carry no work, and as many a second besides: pings, goaways,
// cancels and credits. Each call and chunk allows some more.
const (
	patienceFrames    = 4096
	patiencePerSecond = 128
	patiencePerWork   = 4 // a call's cancel, and credits that come when it has ended
)

// patience bounds what a peer can make this side do for nothing. The calls allowed in flight and the
// credit bound everything else, but a ping asks for an answer and costs its sender nothing. The reader
// goroutine owns it.
type patience struct {
	left  int
	since time.Time // when left was last raised for time
}

func (p *patience) start(now time.Time) { p.left, p.since = patienceFrames, now }

// after counts a frame. The error says that there were too many.
func (p *patience) after(k wire.Kind, now func() time.Time) error {
	switch k {
	case wire.KindRequest, wire.KindResponse, wire.KindError, wire.KindChunk:
		p.left = min(p.left+patiencePerWork, patienceFrames)
		return nil
	}
	if p.left == 0 {
		t := now()
		p.left = int(min(t.Sub(p.since).Seconds()*patiencePerSecond, patienceFrames))
		p.since = t
	}
	if p.left == 0 {
		return fault("flood: %s after %d frames more than %d a second that carry no work", k, patienceFrames, patiencePerSecond)
	}
	p.left--
	return nil
}

// granted takes back the count of a credit that is worth a chunk or more. There are no more of those
// than chunks.
func (p *patience) granted(credit uint64) {
	if credit > wire.ChunkCost {
		p.left++
	}
}
