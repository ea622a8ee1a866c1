package mux

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/datanode/datanode/wire"
)

// session is one class of work on a connection, in both directions. Conn.mu owns it.
type session struct {
	credit  int     // cost of chunks that may still be sent
	waiting []*half // calls that wait for it, or hold back
	sent    int     // cost of chunks sent in calls in flight, and not granted back to the calls
	used    int     // cost received and not granted back. Invariant: used <= window
	owed    int     // of used: what the application has consumed. Invariant: 0 <= owed <= used
}

// callName is what every frame of a call must say.
type callName struct {
	id      uint64
	op      wire.OpType
	session wire.Session
}

func (n callName) matches(h *wire.Header) bool { return n.op == h.Op && n.session == h.Session }

type chunk struct {
	buf    *buffer
	raw    []byte // within buf
	rawSum received
}

// half is one side's part in a call: its name, and chunks both ways. Conn.mu owns it, but for held.
type half struct {
	callName
	c      *Conn
	served *ServerCall // on the accepting side
	over   error       // why no more can be sent; nil while in flight

	credit    int    // as in session
	sent      uint64 // bytes of chunks queued so far
	sendEnded bool
	sendWake  chan struct{} // made by the first sender that waits
	written   chan struct{} // of the frame being sent from borrowed bytes; the sending goroutine owns it
	one       [1][]byte     // room for the parts of raw bytes that are in one; likewise

	chunks    []chunk // received, not consumed
	received  uint64  // bytes of chunks so far
	recvEnded bool    // no more will come
	recvStop  bool    // nobody wants more
	used      int     // as in session
	owed      int
	recvWake  chan struct{}
	held      *buffer // of the chunk given out last; the receiving goroutine owns it
}

var (
	errRecvStopped = errors.New("mux: receiving was stopped")
	errSendClosed  = errors.New("mux: send after CloseSend")
	// ErrEnded is why nothing more can be sent in a call that has its final frame.
	ErrEnded = errors.New("mux: the call has ended")
)

// grantParts sets how much is consumed before credit is granted back: a part of the window. More
// would starve the sender, less would cost more frames. It is part of the protocol: a sender counts on it.
const grantParts = 8

func chunkCost(raw int) int { return raw + wire.ChunkCost }

// awaitCreditLocked takes cost from the call's credit and the session's, waiting for both. It
// releases Conn.mu while it waits.
func (h *half) awaitCreditLocked(cost int) error {
	s := &h.c.sessions[h.session]
	defer s.forget(h)
	for stalled := false; ; stalled = true {
		switch {
		case h.over != nil:
			return h.over
		case h.c.err != nil: // the handler has yet to be told
			return connError(h.op, wire.Unknown, h.c.peer.Node, h.c.err)
		case h.sendEnded:
			return errSendClosed
		case h.credit >= cost && s.credit >= cost && !h.holdsBackLocked(cost):
			h.credit -= cost
			s.credit -= cost
			s.sent += cost
			h.sentLocked()
			return nil
		}
		if !stalled {
			h.c.counts.stalls.Add(1)
		}
		if h.credit >= cost && !slices.Contains(s.waiting, h) {
			s.waiting = append(s.waiting, h)
		}
		h.waitLocked(&h.sendWake)
	}
}

// waitLocked releases Conn.mu until wake is signalled.
func (h *half) waitLocked(wake *chan struct{}) {
	if *wake == nil {
		*wake = make(chan struct{}, 1)
	}
	if h.served != nil {
		h.served.armLocked()
	}
	ch := *wake
	h.c.mu.Unlock()
	<-ch
	h.c.mu.Lock()
}

func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}: // a nil channel is never ready
	default:
	}
}

// endLocked ends the call's sending with cause, and wakes whoever waits.
func (h *half) endLocked(cause error) {
	if h.over == nil {
		h.over = cause
		h.c.sessions[h.session].returnedLocked(int(h.c.peer.WindowBytes) - h.credit)
	}
	signal(h.sendWake)
	signal(h.recvWake)
}

// refundLocked gives session credit back for chunks that were taken from the queue unsent.
func (s *session) refundLocked(cost int) {
	s.credit += cost
	s.wakeLocked()
}

// returnedLocked notes that a call has cost less on the way, or has ended with so much.
func (s *session) returnedLocked(cost int) {
	s.sent -= cost
	s.wakeLocked()
}

func (s *session) wakeLocked() {
	for _, h := range s.waiting {
		signal(h.sendWake)
	}
}

// forget takes h from those who wait.
func (s *session) forget(h *half) {
	if i := slices.Index(s.waiting, h); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	}
}

// receive takes the next chunk, waiting for it: io.EOF when the peer has sent the last one.
func (h *half) receive() ([]byte, error) {
	next, err := h.receiveChunk()
	return next.raw, err
}

// receiveSum is receive, and the CRC32C of the chunk.
func (h *half) receiveSum() ([]byte, uint32, error) {
	next, err := h.receiveChunk()
	if err != nil {
		return nil, 0, err
	}
	return next.raw, next.rawSum.of(next.raw), nil
}

func (h *half) receiveChunk() (chunk, error) {
	h.held.free()
	h.held = nil
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	for {
		switch {
		case h.recvStop:
			return chunk{}, errRecvStopped
		case len(h.chunks) > 0:
			next := h.chunks[0]
			h.chunks[0] = chunk{}
			h.chunks = h.chunks[1:]
			h.held = next.buf
			h.consumedLocked(chunkCost(len(next.raw)))
			return next, nil
		case h.over != nil && h.over != ErrEnded: //nolint:errorlint // identity is meant
			return chunk{}, h.over
		case h.recvEnded:
			return chunk{}, io.EOF
		case h.over != nil:
			return chunk{}, h.over
		}
		h.waitLocked(&h.recvWake)
	}
}

// stopReceiving makes receive return at once, from now on.
func (h *half) stopReceiving() {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	h.recvStop = true
	signal(h.recvWake)
}

// consumedLocked grants the peer credit for what the application has consumed, in larger parts.
func (h *half) consumedLocked(cost int) {
	h.c.consumedLocked(h.session, cost)
	if h.over != nil || h.recvEnded {
		return // no more chunks are due
	}
	h.owed += cost
	if h.owed >= h.c.cfg.WindowBytes/grantParts {
		h.c.grantLocked(h.callName, h.owed)
		h.used -= h.owed
		h.owed = 0
	}
}

func (c *Conn) consumedLocked(id wire.Session, cost int) {
	s := &c.sessions[id]
	s.owed += cost
	if s.owed >= c.cfg.SessionWindowBytes/grantParts {
		c.grantLocked(callName{session: id}, s.owed)
		s.used -= s.owed
		s.owed = 0
	}
}

func (c *Conn) grantLocked(to callName, amount int) {
	buf := newBuffer(0)
	buf.b = wire.AppendUint(buf.b, uint64(amount))
	c.pushControlLocked(outFrame{
		hdr: wire.Header{Kind: wire.KindCredit, ID: to.id, Op: to.op, Session: to.session},
		buf: buf, bodyLen: len(buf.b),
	})
}

// shedLocked ends a call whose chunk, which costs so much, finds no room. What the call holds makes some.
func (h *half) shedLocked(cost int) {
	h.c.consumedLocked(h.session, cost)
	h.endLocked(exhausted(h.op, wire.Unknown, "the chunks of this call"))
	h.discardLocked()
}

// discardLocked drops the chunks that nobody will consume.
func (h *half) discardLocked() {
	for _, ch := range h.chunks {
		h.c.consumedLocked(h.session, chunkCost(len(ch.raw)))
		ch.buf.free()
	}
	h.chunks = nil
}

// onCredit adds what the peer grants. It can never grant more than was used.
func (c *Conn) onCredit(in *incoming) error {
	rest, n, ok := wire.ParseUint(in.Body)
	if !ok || len(rest) != 0 {
		return fault("credit frame: want one unsigned integer as its body")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.sessions[in.Session]
	if in.ID == 0 {
		if n > uint64(int(c.peer.SessionWindowBytes)-s.credit) {
			return fault("credit of %d for session %s, which had used less", n, in.Session)
		}
		c.patience.granted(n)
		s.refundLocked(int(n))
		return nil
	}
	h, err := c.matchLocked(in)
	if err != nil || h == nil || h.over != nil {
		return err
	}
	if n > uint64(int(c.peer.WindowBytes)-h.credit) {
		return fault("credit of %d for %s, which had used less", n, in.Header)
	}
	c.patience.granted(n)
	h.credit += int(n)
	s.returnedLocked(int(n))
	signal(h.sendWake)
	return nil
}

// onChunk queues a chunk for the application, within the windows.
func (c *Conn) onChunk(in *incoming) error {
	if len(in.Body) != 0 {
		return fault("%s with a body of %d bytes, want none", in.Header, len(in.Body))
	}
	last := in.Flags&wire.FlagEnd != 0
	if in.rawLen == 0 && !last {
		return fault("%s without bytes, which only the last may be", in.Header)
	}
	if in.rawLen > wire.MaxChunkBytes {
		return fault("%s of %d bytes, want %d at most", in.Header, in.rawLen, wire.MaxChunkBytes)
	}
	var buf *buffer
	if in.rawLen > 0 {
		buf = in.keep(&c.account, 0)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.acceptChunkLocked(in, chunk{buf, in.Raw, sumOfFrame(&in.Frame)}, last)
	if err != nil {
		buf.free()
	}
	return err
}

// placedLocked checks that a chunk comes where the call has a place for it.
func (h *half) placedLocked(in *incoming) error {
	switch {
	case h.recvEnded && h.over == nil:
		return h.c.mismatch(MismatchChunk, in, &h.callName, "chunk after the last one")
	case h.c.limits.offsets && in.MinIndex != h.received:
		return h.c.mismatch(MismatchChunk, in, &h.callName,
			fmt.Sprintf("chunk begins at byte %d, want %d", in.MinIndex, h.received))
	}
	h.received += uint64(in.rawLen)
	return nil
}

func (c *Conn) acceptChunkLocked(in *incoming, ch chunk, last bool) error {
	h, err := c.matchLocked(in)
	if err != nil {
		return err
	}
	s, cost := &c.sessions[in.Session], 0
	if in.rawLen > 0 {
		cost = chunkCost(in.rawLen)
	}
	if n := c.queue.control.len(); n > c.maxControlFrames() {
		return fault("%d frames wait for the peer to read them", n)
	}
	if s.used += cost; s.used > c.cfg.SessionWindowBytes {
		return fault("%s exceeds the session's window of %d bytes", in.Header, c.cfg.SessionWindowBytes)
	}
	if h != nil {
		if err := h.placedLocked(in); err != nil {
			return err
		}
	}
	if h == nil || h.over != nil { // answered or cancelled: late, and dropped
		c.consumedLocked(in.Session, cost)
		ch.buf.free()
		return nil
	}
	if h.used += cost; h.used > c.cfg.WindowBytes {
		return fault("%s exceeds the call's window of %d bytes", in.Header, c.cfg.WindowBytes)
	}
	switch {
	case cost > 0 && ch.buf == nil:
		h.shedLocked(cost)
		return nil
	case cost > 0:
		h.chunks = append(h.chunks, ch)
	}
	h.recvEnded = last
	signal(h.recvWake)
	return nil
}
