package mux

import (
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/datanode/datanode/wire"
)

// faultError is any other fault of the peer after which the connection cannot be trusted.
type faultError struct{ error }

// AtFault reports whether a connection has ended, or has not begun, for what the peer did and may not do: a
// frame that is malformed, matches no call or is beyond a limit.
func AtFault(err error) bool {
	var m *Mismatch
	var f faultError
	return errors.As(err, &m) || errors.As(err, &f)
}

func fault(format string, args ...any) error { return faultError{fmt.Errorf(format, args...)} }

// incoming is a frame just read. Its memory is the read buffer's until kept.
type incoming struct {
	wire.Frame
	buf    *buffer // holds the frame, when it was too large for the read buffer
	size   int     // to discard from the read buffer, when it was not
	shed   bool    // there was no room for it: Body and Raw are empty
	rawLen int     // of Raw, shed or not
}

// keep moves the frame's bytes to a buffer that outlives the next read, and charges a for it and for
// extra bytes. The caller owns it. It is nil when there is no room.
func (in *incoming) keep(a *account, extra int) *buffer {
	buf := in.buf
	switch {
	case in.shed:
		return nil
	case buf != nil: // it is paid for
		if !a.chargeMore(buf, extra) {
			return nil
		}
		in.buf = nil
		return buf
	}
	n := len(in.Body)
	buf = newBuffer(n + len(in.Raw))
	if !a.charge(buf, extra) {
		buf.free()
		return nil
	}
	buf.b = append(append(buf.b, in.Body...), in.Raw...)
	in.Body, in.Raw = buf.b[:n:n], buf.b[n:]
	return buf
}

// ownBytes is from how many bytes on a reply has a buffer that can be given back: most are small, and never are.
const ownBytes = 2 << 10

// own is keep for bytes whose end is perhaps never told: then they are left to the garbage collector, and so nobody is
// charged. The buffer is nil if there is nothing to give back.
func (in *incoming) own() *buffer {
	if buf := in.buf; buf != nil {
		in.buf = nil
		return buf
	}
	n := len(in.Body)
	if n+len(in.Raw) == 0 {
		in.Body, in.Raw = nil, nil
		return nil
	}
	var buf *buffer
	var b []byte
	if n+len(in.Raw) < ownBytes {
		b = make([]byte, 0, n+len(in.Raw))
	} else {
		buf = newBuffer(n + len(in.Raw))
		b = buf.b
	}
	b = append(append(b, in.Body...), in.Raw...)
	in.Body, in.Raw = b[:n:n], b[n:]
	return buf
}

func (in *incoming) release(c *Conn) {
	in.buf.free()
	_, _ = c.rd.Discard(in.size) // these bytes have been peeked at: it cannot fail
}

// readFrame reads the next frame, whose size it checks before it makes room for it. It needs no
// deadline of its own: in the middle of a frame no pong can come, so that one which takes too long
// ends as a ping without an answer does.
func (c *Conn) readFrame(maxBytes int) (incoming, error) {
	head, err := c.rd.Peek(4)
	if err != nil {
		return incoming{}, readError(len(head), err)
	}
	size, err := wire.FrameSize(head, maxBytes)
	if err != nil {
		return incoming{}, faultError{err}
	}
	in := incoming{size: size}
	var b []byte
	if size <= c.rd.Size() {
		b, err = c.rd.Peek(size)
	} else {
		in.buf, in.size = newBuffer(size), 0
		if !c.account.charge(in.buf, 0) {
			in.buf.free()
			return c.skim(size)
		}
		in.buf.b = in.buf.b[:size]
		b = in.buf.b
		_, err = io.ReadFull(c.rd, b)
	}
	if err != nil {
		in.buf.free()
		return incoming{}, readError(1, err)
	}
	if _, in.Frame, err = wire.ParseFrame(b); err != nil {
		in.buf.free()
		return incoming{}, faultError{err}
	}
	in.rawLen = len(in.Raw)
	c.counts.framesIn.Add(1)
	c.counts.bytesIn.Add(uint64(size))
	return in, nil
}

// skim reads a frame for which there is no room, and keeps its header only. It is checked like any other,
// so that what is done about it is done to the call that it is of.
func (c *Conn) skim(size int) (incoming, error) {
	in := incoming{shed: true}
	var broken, err error
	in.Header, in.rawLen, err = wire.SkimFrame(size, func(n int) ([]byte, error) {
		var b []byte
		if b, broken = c.rd.Peek(n); broken == nil {
			_, broken = c.rd.Discard(n) // b stays as it is until the next Peek
		}
		return b, broken
	})
	switch {
	case broken != nil:
		return incoming{}, readError(1, broken)
	case err != nil:
		return incoming{}, faultError{err}
	case in.Kind != wire.KindRequest && in.Kind != wire.KindChunk:
		return incoming{}, fault("%s of %d bytes, of a kind that is never so large", in.Header, size)
	}
	c.counts.framesIn.Add(1)
	c.counts.bytesIn.Add(uint64(size))
	return in, nil
}

func readError(have int, err error) error {
	if errors.Is(err, io.EOF) && have == 0 {
		return errors.New("closed by the peer")
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("closed by the peer in the middle of a frame")
	}
	return err
}

// framesAtOnce is how many frames the reader takes before it lets others run. A peer that sends many small
// requests at once would otherwise have made a goroutine ready for each, before those of another
// connection get their turn.
const framesAtOnce = 16

func (c *Conn) readLoop() {
	defer c.wg.Done()
	for n := 1; ; n++ {
		if n%framesAtOnce == 0 {
			runtime.Gosched()
		}
		in, err := c.readFrame(c.limits.frameBytes)
		if err == nil {
			err = c.dispatch(&in)
			in.release(c)
		}
		if err != nil {
			c.readFailed(err)
			return
		}
	}
}

// readFailed ends the connection. If the peer is at fault it is poisoned, which is logged.
func (c *Conn) readFailed(err error) {
	var m *Mismatch
	var f faultError
	switch {
	case errors.As(err, &m):
		c.counts.mismatches.Add(1)
		c.cfg.Logger.Error("connection poisoned: mismatch", "kind", m.Kind.String(), "peer", m.Peer, "remote", m.Remote,
			"reason", m.Reason,
			"got", m.Got.String(), "want_op", m.WantOp.String(), "want_session", m.WantSession.String())
		if c.cfg.OnMismatch != nil {
			c.cfg.OnMismatch(*m)
		}
	case errors.As(err, &f):
		c.cfg.Logger.Error("connection poisoned: bad frame", "peer", c.peer.Node, "remote", c.nc.RemoteAddr().String(),
			"reason", err.Error())
	}
	c.fail(err)
}

func (c *Conn) dispatch(in *incoming) error {
	if err := c.patience.after(in.Kind, c.cfg.Clock.Now); err != nil {
		return err
	}
	switch in.Kind {
	case wire.KindRequest:
		if !c.dialed {
			return c.onRequest(in)
		}
	case wire.KindResponse, wire.KindError:
		if c.dialed {
			return c.onFinal(in)
		}
	case wire.KindChunk:
		return c.onChunk(in)
	case wire.KindCredit:
		return c.onCredit(in)
	case wire.KindCancel:
		if !c.dialed {
			return c.onCancel(in)
		}
	case wire.KindPing:
		return c.onPing(in)
	case wire.KindPong:
		return c.onPong(in)
	case wire.KindGoAway:
		c.onGoAway()
		return nil
	}
	return c.mismatch(MismatchDirection, in, nil, "this side takes no such frame")
}

// matchLocked finds the call that a frame is of, by all that it says. It is nil for a late frame of
// a call that the accepting side has done with.
func (c *Conn) matchLocked(in *incoming) (*half, error) {
	var h *half
	if cl := c.calls[in.ID]; cl != nil {
		h = &cl.half
	} else if sc := c.served[in.ID]; sc != nil {
		h = &sc.half
	}
	switch {
	case h != nil && !h.matches(&in.Header):
		return nil, c.misnamed(in, &h.callName, "other operation or session")
	case h != nil:
		return h, nil
	case c.dialed && in.ID > c.beforeID && in.ID <= c.lastID:
		return nil, c.mismatch(MismatchEndedCall, in, nil, "that call has ended")
	case c.dialed || in.ID > c.lastID:
		return nil, c.mismatch(MismatchUnknownCall, in, nil, "no such call was started")
	}
	if done := &c.finished[in.ID%finishedSlots]; done.id == in.ID && !done.matches(&in.Header) {
		return nil, c.misnamed(in, done, "other operation or session than the ended call")
	}
	return nil, nil
}

func (c *Conn) onGoAway() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.peerDraining {
		return // said before, and the queue was searched then
	}
	c.peerDraining = true
	unsent := func(f *outFrame) bool { return f.half != nil && f.half.id == 0 }
	for s := range c.queue.bySession {
		c.queue.remove(wire.Session(s), unsent, func(f *outFrame) {
			if f.call != nil {
				c.unsent--
				f.call.endLocked(Reply{}, c.goingAway(f.hdr.Op))
			}
			c.unqueuedLocked(f)
		})
	}
	c.checkIdleLocked()
}

func (c *Conn) goingAway(op wire.OpType) error {
	return wire.Errorf(op, wire.CodeUnavailable, "node %q takes no new calls on this connection", c.peer.Node)
}
