package wiretest

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/datanode/datanode/wire"
)

// Tamper is a way of confusing a frame.
type Tamper uint8

const (
	// These two change nothing that a frame says. The receiver must take the frame, and answers must be right.
	Delay   Tamper = 1 // hold all that follows up, for a moment
	Reorder Tamper = 2 // let frames of other calls overtake it

	// The receiver must find all of these, for the reason given. The CRC is right unless it says otherwise.
	Duplicate  Tamper = 3  // twice: the call has ended, the chunk does not go on where it should, the ID does not go up
	Operation  Tamper = 4  // another operation than the call's
	Session    Tamper = 5  // another session than the call's
	UnknownID  Tamper = 6  // the ID of no call
	OtherID    Tamper = 7  // the ID of another call in flight, which has another operation or session
	Replay     Tamper = 8  // preceded by an answer given before on this connection
	Elsewhere  Tamper = 9  // preceded by an answer given on another connection
	Direction  Tamper = 10 // a kind that only the receiver's own side sends
	Body       Tamper = 11 // what another frame carries, under this one's header and CRC
	BadCRC     Tamper = 12 // a bit is another
	BodyLength Tamper = 13 // a body longer than the frame
	Length     Tamper = 14 // a length that is too large, too small, or takes in the beginning of what follows
	Truncate   Tamper = 15 // its end is missing, and the next frame follows
	Cut        Tamper = 16 // its end is missing, and nothing follows

	tamperEnd Tamper = 17
)

var tamperNames = [...]string{"", "delay", "reorder", "duplicate", "operation", "session", "unknown-id", "other-id",
	"replay",
	"elsewhere", "direction", "body", "bad-crc", "body-length", "length", "truncate", "cut"}

func (t Tamper) String() string {
	if t == 0 || t >= tamperEnd {
		return fmt.Sprintf("tamper(%d)", uint8(t))
	}
	return tamperNames[t]
}

// Harmless reports whether the receiver must take the frame all the same.
func (t Tamper) Harmless() bool { return t <= Reorder }

// maxTries bounds the search for a way that fits a frame.
const maxTries = 8

// spoil makes what is sent in place of frame f: all of it must be found by the receiver. No bytes
// say that nothing tried fits.
func (c *calls) spoil(r *rand.Rand, up bool, f *frame, elsewhere []byte) (Tamper, []byte) {
	for range maxTries {
		t := Duplicate + Tamper(r.IntN(int(tamperEnd-Duplicate)))
		if b := c.spoilAs(t, r, up, f, elsewhere); b != nil {
			return t, b
		}
	}
	return 0, nil
}

func (c *calls) spoilAs(t Tamper, r *rand.Rand, up bool, f *frame, elsewhere []byte) []byte {
	switch t {
	case Duplicate:
		if f.ends() || up && f.Kind == wire.KindRequest || !up && f.Kind == wire.KindChunk && len(f.Raw) > 0 {
			return slices.Concat(f.bytes, f.bytes)
		}
	case Replay:
		if !up && c.answer != nil {
			return slices.Concat(c.answer, f.bytes)
		}
	case Elsewhere:
		if !up && elsewhere != nil {
			return slices.Concat(elsewhere, f.bytes)
		}
	case Body, BadCRC, BodyLength, Length, Truncate, Cut:
		return f.damage(t, r, c.answer)
	case Operation, Session, UnknownID, OtherID, Direction:
		if f.matched(up) {
			return c.misname(t, r, up, f)
		}
	}
	return nil
}

// matched reports whether the receiver compares the frame's names with a call. It has nothing to compare
// those of a request against, and a credit for a whole session names none.
func (f *frame) matched(up bool) bool {
	switch f.Kind {
	case wire.KindResponse, wire.KindError, wire.KindChunk, wire.KindCredit, wire.KindCancel:
		return f.ID != 0
	}
	return up && f.Kind == wire.KindRequest
}

func (c *calls) misname(t Tamper, r *rand.Rand, up bool, f *frame) []byte {
	h := f.Header
	if f.Kind == wire.KindRequest && t != Direction {
		return nil
	}
	switch t {
	case Operation:
		h.Op += wire.OpType(1 + r.IntN(60))
	case Session:
		h.Session = 1 + (h.Session+wire.Session(r.IntN(4)))%5
	case UnknownID:
		h.ID = c.highest + farID + r.Uint64N(1<<20)
	case OtherID:
		for id, call := range c.open {
			if call.op != h.Op || call.session != h.Session {
				h.ID = id
				break
			}
		}
	case Direction:
		h.Kind = wire.KindCancel
		if up {
			h.Kind = wire.KindResponse
		}
	}
	if h == f.Header {
		return nil
	}
	return wire.AppendFrame(nil, &h, f.Body, f.Raw)
}

// damage makes something that is no frame.
func (f *frame) damage(t Tamper, r *rand.Rand, other []byte) []byte {
	b := slices.Clone(f.bytes)
	switch t {
	case BadCRC:
		b[4+r.IntN(len(b)-4)] ^= 1 << r.IntN(8)
	case BodyLength:
		return f.lieAboutBody(r)
	case Length:
		switch n := len(b) - 4; r.IntN(3) {
		case 0:
			putLength(b, 1<<31-1)
		case 1:
			putLength(b, 5)
		default:
			putLength(b, n+1+r.IntN(16))
		}
	case Truncate, Cut:
		return b[:len(b)-1-r.IntN(min(len(b)-5, maxTruncatedBytes))]
	case Body:
		_, o, err := wire.ParseFrame(other)
		if err != nil || string(o.Body) == string(f.Body) && string(o.Raw) == string(f.Raw) {
			return nil
		}
		h := f.Header
		swapped := wire.AppendFrame(nil, &h, o.Body, o.Raw)
		copy(swapped[len(swapped)-4:], b[len(b)-4:])
		return swapped
	}
	return b
}

// lieAboutBody is the frame with a body longer than itself, and a CRC that agrees.
func (f *frame) lieAboutBody(r *rand.Rand) []byte {
	h := f.Header
	h.BodyLen = uint32(len(f.Body) + len(f.Raw) + 1 + r.IntN(1000))
	b := wire.AppendHeader(make([]byte, 4), &h)
	b = append(append(b, f.Body...), f.Raw...)
	putLength(b, len(b))
	return wire.AppendFrameEnd(b, b, nil)
}
