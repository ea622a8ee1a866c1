package wire

import (
	"errors"
	"fmt"
)

// Kind says what a frame does. The numbers are part of the wire format: never reused, only appended.
type Kind uint8

const (
	KindHello    Kind = 1  // who I am; the first frame in each direction, and only the first
	KindRequest  Kind = 2  // starts a call
	KindResponse Kind = 3  // ends a call that was answered
	KindChunk    Kind = 4  // bytes of a call, either way
	KindCredit   Kind = 5  // the receiver of chunks has room for more
	KindCancel   Kind = 6  // the caller no longer wants the answer
	KindError    Kind = 7  // ends a call that failed
	KindPing     Kind = 8  // are you there?
	KindPong     Kind = 9  // yes
	KindGoAway   Kind = 10 // start no new calls on this connection

	kindEnd Kind = 11
)

var kindNames = [...]string{"", "hello", "request", "response", "chunk", "credit", "cancel", "error",
	"ping", "pong", "goaway"}

func (k Kind) String() string {
	if k == 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// ofCall reports whether frames of kind k belong to one call.
func (k Kind) ofCall() bool { return k >= KindRequest && k <= KindError }

// Flags qualify a frame. Unknown bits are ignored.
type Flags uint8

const (
	// FlagEnd on a request or chunk: this side sends no further chunk in this call.
	FlagEnd Flags = 1 << 0
	// FlagStream on a request: the caller takes chunks before the response.
	FlagStream Flags = 1 << 1
	// FlagOnBehalf on a request: its body begins with who it is made for. See AppendOnBehalf.
	FlagOnBehalf Flags = 1 << 2
)

// Header is what every frame starts with. On the wire it is a msgpack array of unsigned integers in
// the order of the fields; later versions may append more, which are skipped.
//
// Invariant of a parsed header: frames of a call have ID, Op and a valid Session; only a credit for a
// whole session has ID 0 and Op 0.
type Header struct {
	Kind     Kind
	Op       OpType
	ID       uint64 // correlation ID, or a ping's number; never reused on a connection
	Session  Session
	Flags    Flags
	Deadline uint64 // microseconds: that the caller still waits; of an error, after which to ask again; 0: not said
	Fence    uint64
	MinIndex uint64 // answer only once this log index is applied
	BodyLen  uint32 // set by AppendFrame
}

const (
	headerFields = 9
	// maxHeaderFields bounds growth: a fixarray has 15 elements at most.
	maxHeaderFields = 15
	// MaxHeaderBytes is the longest header this version writes.
	MaxHeaderBytes = 1 + 2 + 3 + 9 + 2 + 2 + 9 + 9 + 9 + 5
)

var (
	errHeaderArray = errors.New("frame header: want a msgpack array of 9 to 15 elements")
	errHeaderField = errors.New("frame header: want an unsigned integer in each element")
	errHeaderRange = errors.New("frame header: an element is larger than its field")
)

// AppendHeader appends h as msgpack.
func AppendHeader(buf []byte, h *Header) []byte {
	buf = append(buf, codeFixArray|headerFields)
	buf = AppendUint(buf, uint64(h.Kind))
	buf = AppendUint(buf, uint64(h.Op))
	buf = AppendUint(buf, h.ID)
	buf = AppendUint(buf, uint64(h.Session))
	buf = AppendUint(buf, uint64(h.Flags))
	buf = AppendUint(buf, h.Deadline)
	buf = AppendUint(buf, h.Fence)
	buf = AppendUint(buf, h.MinIndex)
	return AppendUint(buf, uint64(h.BodyLen))
}

// ParseHeader reads one header. It does not allocate unless it fails.
func ParseHeader(buf []byte) (rest []byte, h Header, err error) {
	if len(buf) == 0 || buf[0]&0xf0 != codeFixArray || buf[0]&0x0f < headerFields {
		return nil, Header{}, errHeaderArray
	}
	count := int(buf[0] & 0x0f)
	var v [maxHeaderFields]uint64
	rest = buf[1:]
	for i := range count {
		var ok bool
		if rest, v[i], ok = ParseUint(rest); !ok {
			return nil, Header{}, errHeaderField
		}
	}
	h = Header{Kind: Kind(v[0]), Op: OpType(v[1]), ID: v[2], Session: Session(v[3]), Flags: Flags(v[4]),
		Deadline: v[5], Fence: v[6], MinIndex: v[7], BodyLen: uint32(v[8])}
	if v[0] > 0xff || v[1] > 0xffff || v[3] > 0xff || v[4] > 0xff || v[8] > 0xffff_ffff {
		return nil, Header{}, errHeaderRange
	}
	return rest, h, h.valid()
}

func (h *Header) valid() error {
	switch {
	case h.Kind == 0 || h.Kind >= kindEnd:
		return fmt.Errorf("frame header: unknown %s", h.Kind)
	case !h.Kind.ofCall():
		return nil
	case !h.Session.Valid():
		return fmt.Errorf("frame header: %s frame with unknown %s", h.Kind, h.Session)
	case h.Kind == KindCredit && h.ID == 0 && h.Op == 0:
		return nil
	case h.ID == 0 || h.Op == 0:
		return fmt.Errorf("frame header: %s frame of call %d, %s: want both above zero", h.Kind, h.ID, h.Op)
	}
	return nil
}

func (h Header) String() string {
	return fmt.Sprintf("%s %d %s/%s", h.Kind, h.ID, h.Op, h.Session)
}
