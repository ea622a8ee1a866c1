package mux

import (
	"fmt"

	"github.com/datanode/datanode/wire"
)

// MismatchKind says what about a frame matched no call in flight. The set is closed, so that a
// metric may have one label for each.
type MismatchKind uint8

// The kinds of mismatches. Either side may find each, unless it says otherwise.
const (
	MismatchUnknownCall MismatchKind = 1 // its ID was never started
	MismatchEndedCall   MismatchKind = 2 // its call has had its final frame; found by the dialing side
	MismatchOperation   MismatchKind = 3 // its ID is of a call with another operation
	MismatchSession     MismatchKind = 4 // its ID is of a call in another session
	MismatchReusedID    MismatchKind = 5 // a request whose ID does not go up; found by the accepting side
	MismatchDirection   MismatchKind = 6 // the other side never sends this kind of frame
	MismatchPong        MismatchKind = 7 // it answers no ping that waits
	MismatchChunk       MismatchKind = 8 // a chunk that its call has no place for

	mismatchEnd MismatchKind = 9
)

var mismatchNames = [...]string{"", "unknown-call", "ended-call", "operation", "session", "reused-id",
	"direction", "pong", "chunk"}

func (k MismatchKind) String() string {
	if k == 0 || k >= mismatchEnd {
		return "other"
	}
	return mismatchNames[k]
}

// MismatchKinds are all kinds there are, for who counts by kind.
func MismatchKinds() []MismatchKind {
	kinds := make([]MismatchKind, 0, mismatchEnd-1)
	for k := MismatchUnknownCall; k < mismatchEnd; k++ {
		kinds = append(kinds, k)
	}
	return kinds
}

// Mismatch is a frame that named no call in flight, or named it wrongly.
type Mismatch struct {
	Kind   MismatchKind
	Peer   string      // the peer's node
	Remote string      // its address
	Got    wire.Header // what the frame said
	Reason string
	// What the call of that correlation ID is; zero when there is none.
	WantOp      wire.OpType
	WantSession wire.Session
}

func (m *Mismatch) Error() string {
	if m.WantOp == 0 {
		return fmt.Sprintf("mismatch: got %s, %s", m.Got, m.Reason)
	}
	return fmt.Sprintf("mismatch: got %s, want %s/%s: %s", m.Got, m.WantOp, m.WantSession, m.Reason)
}

// mismatch makes the error that poisons the connection.
func (c *Conn) mismatch(kind MismatchKind, in *incoming, want *callName, reason string) error {
	m := &Mismatch{Kind: kind, Peer: c.peer.Node, Remote: c.nc.RemoteAddr().String(), Got: in.Header, Reason: reason}
	if want != nil {
		m.WantOp, m.WantSession = want.op, want.session
	}
	return m
}

// misnamed is the mismatch of a frame that has the ID of want and differs from it.
func (c *Conn) misnamed(in *incoming, want *callName, reason string) error {
	kind := MismatchSession
	if in.Op != want.op {
		kind = MismatchOperation
	}
	return c.mismatch(kind, in, want, reason)
}
