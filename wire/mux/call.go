package mux

import (
	"context"
	"fmt"
	"time"

	"github.com/datanode/datanode/wire"
)

// Request starts a call.
type Request struct {
	Op       wire.OpType
	Session  wire.Session
	Fence    uint64
	MinIndex uint64
	Body     any    // encoded with wire.Marshal; wire.Encoded goes as it is; nil: none
	Raw      []byte // not to be changed until Call or Open returns
	RawSum   uint32 // the CRC32C of Raw, with RawSummed
	// RawSummed says that RawSum is known, so that Raw need not be summed again. A wrong sum ends the connection.
	RawSummed bool
	End       bool // for Open: no chunk will be sent, as after CloseSend
	// OnBehalf is who the request is made for, where that is not this side. A peer without FeatureOnBehalf is not told.
	OnBehalf string
}

// Reply is a response. The receiver owns its bytes, and may give them back with Free.
type Reply struct {
	Body     []byte
	Raw      []byte
	Fence    uint64
	MinIndex uint64

	rawSum received
	buf    *buffer // holds Body and Raw; nil: the garbage collector has them
}

// Free gives the bytes of the reply back to those who need some next. Without it they are left to the garbage
// collector.
func (r *Reply) Free() {
	r.buf.free()
	*r = Reply{}
}

// RawSum is the CRC32C of Raw, mostly known since the frame was checked.
func (r *Reply) RawSum() uint32 { return r.rawSum.of(r.Raw) }

// Decode decodes the body into v.
func (r Reply) Decode(v any) error { return wire.Unmarshal(r.Body, v) }

type callState uint8

const (
	callQueued    callState = 1
	callSent      callState = 2 // in Conn.calls
	callCancelled callState = 3 // in Conn.calls, for its final frame; nobody waits for it
	callEnded     callState = 4
)

// call is a call of the dialing side. Conn.mu owns it until done has its token.
type call struct {
	half
	state callState
	start time.Time
	done  chan struct{} // holds one token once ended
	reply Reply
	err   error
}

func newCall() *call { return &call{done: make(chan struct{}, 1)} }

// Call does one call without chunks and waits for its reply. When ctx ends first the call is cancelled,
// and the connection stays usable. The error is, or wraps, a *wire.Error.
func (c *Conn) Call(ctx context.Context, req Request) (Reply, error) {
	cl, ok := c.freeCalls.Get().(*call)
	if !ok {
		cl = newCall()
	}
	written, err := c.submit(ctx, cl, &req, wire.FlagEnd)
	if err != nil {
		return Reply{}, err
	}
	select {
	case <-cl.done:
	case <-ctx.Done():
		if err = c.abandon(cl, ctx.Err()); err == nil {
			<-cl.done // it ended just before
		}
	}
	if written != nil {
		<-written // the writer may still read req.Raw
	}
	if err != nil {
		return Reply{}, err
	}
	reply, err := cl.reply, cl.err
	*cl = call{done: cl.done, half: half{written: cl.written}}
	c.freeCalls.Put(cl)
	return reply, err
}

// submit queues the request of cl. When its raw bytes are borrowed, written says when they no longer are.
func (c *Conn) submit(ctx context.Context, cl *call, req *Request, flags wire.Flags) (written chan struct{},
	err error) {
	f := outFrame{call: cl, half: &cl.half, hdr: wire.Header{Kind: wire.KindRequest, Op: req.Op, Session: req.Session,
		Flags: flags, Fence: req.Fence, MinIndex: req.MinIndex}}
	now := c.cfg.Clock.Now()
	if err := c.checkRequest(ctx, req); err != nil {
		return nil, err
	}
	if until, ok := ctx.Deadline(); ok {
		f.hdr.Deadline = uint64(max(until.Sub(now).Microseconds(), 1))
	}
	if req.OnBehalf != "" && c.agreed.Features&wire.FeatureOnBehalf != 0 {
		f.hdr.Flags |= wire.FlagOnBehalf
		f.onBehalf = req.OnBehalf
	}
	raw := cl.onePart(req.Raw)
	raw.Sum, raw.Summed = req.RawSum, req.RawSummed
	if err := f.fill(&cl.half, req.Body, raw, c.limits.frameBytes); err != nil {
		return nil, err
	}
	written = f.written
	cl.half = half{written: cl.half.written, c: c, callName: callName{op: req.Op, session: req.Session},
		credit: int(c.peer.WindowBytes), sendEnded: flags&wire.FlagEnd != 0, recvEnded: flags&wire.FlagStream == 0}
	cl.state, cl.start = callQueued, now

	c.mu.Lock()
	err = c.admitLocked(req.Op)
	if err == nil {
		c.unsent++
		c.noticeLocked(req.Session)
		c.sendLocked(f)
	}
	c.mu.Unlock()
	if err != nil {
		f.take()
		return nil, err
	}
	return written, nil
}

func (c *Conn) checkRequest(ctx context.Context, req *Request) error {
	switch {
	case !c.dialed:
		return wire.Errorf(req.Op, wire.CodeInvalid, "calls are started by the side that dialed")
	case req.Op == 0 || !req.Session.Valid():
		return wire.Errorf(req.Op, wire.CodeInvalid, "call of %s in %s: want an operation and a session", req.Op, req.Session)
	case ctx.Err() != nil:
		return ctxError(req.Op, wire.NotDone, ctx.Err())
	}
	return nil
}

func (c *Conn) admitLocked(op wire.OpType) error {
	switch {
	case c.err != nil:
		return connError(op, wire.NotDone, c.peer.Node, c.err)
	case c.draining || c.peerDraining:
		return c.goingAway(op)
	case c.unsent+len(c.calls) >= c.limits.calls:
		return wire.Errorf(op, wire.CodeExhausted, "%d calls in flight on the connection with %q, the limit", c.limits.calls,
			c.peer.Node)
	}
	return nil
}

// fill puts body and raw into f, a frame of h, and checks that it fits a frame.
func (f *outFrame) fill(h *half, body any, raw Bytes, maxBytes int) error {
	rawLen := raw.Len()
	room := rawLen
	if rawLen > borrowBytes {
		room = 0
	}
	f.buf = newBuffer(room)
	if f.onBehalf != "" {
		f.buf.b = wire.AppendOnBehalf(f.buf.b, f.onBehalf)
	}
	if body != nil {
		b, err := wire.AppendMarshal(f.buf.b, body)
		if err != nil {
			f.drop()
			return wire.Errorf(f.hdr.Op, wire.CodeInvalid, "%v", err)
		}
		f.buf.b = b
	}
	f.bodyLen = len(f.buf.b)
	if size := wire.FrameOverhead + f.bodyLen + rawLen; size > maxBytes {
		f.drop()
		return wire.Errorf(f.hdr.Op, wire.CodeInvalid, "frame of %d bytes, but the connection takes no more than %d", size,
			maxBytes)
	}
	f.setRaw(h, raw, rawLen)
	return nil
}

// setRaw copies raw, or borrows it when that is cheaper.
func (f *outFrame) setRaw(h *half, raw Bytes, rawLen int) {
	f.rawSum, f.summed = raw.Sum, raw.Summed
	if rawLen > borrowBytes {
		f.raw, f.more = raw.Parts[0], raw.Parts[1:]
		f.moreLen = rawLen - len(f.raw)
		f.written = h.writtenChan()
	} else {
		for _, p := range raw.Parts {
			f.buf.b = append(f.buf.b, p...)
		}
	}
	h.one[0] = nil // it may have been raw's, and a call that then idles must not keep the caller's bytes
}

// abandon gives a call up: unsent, it is taken back; sent, the peer gets a cancel. It is nil when the call has
// ended anyway.
func (c *Conn) abandon(cl *call, cause error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch cl.state {
	case callQueued:
		c.unsent--
		err := ctxError(cl.op, wire.NotDone, cause)
		cl.giveUpLocked(callEnded, err)
		c.checkIdleLocked()
		return err
	case callSent:
		err := ctxError(cl.op, wire.Unknown, cause)
		cl.giveUpLocked(callCancelled, err)
		c.pushControlLocked(outFrame{hdr: wire.Header{Kind: wire.KindCancel, ID: cl.id, Op: cl.op, Session: cl.session}})
		return err
	}
	return nil
}

func (cl *call) giveUpLocked(state callState, err error) {
	cl.state = state
	cl.err = err
	cl.half.endLocked(err)
	cl.discardLocked()
	cl.c.unqueueLocked(&cl.half)
	cl.done <- struct{}{}
}

// endLocked ends a call with its result. A cancelled call has had its own already.
func (cl *call) endLocked(reply Reply, err error) {
	if cl.state == callCancelled || cl.state == callEnded {
		cl.state = callEnded
		return
	}
	cl.state, cl.reply, cl.err = callEnded, reply, err
	cl.recvEnded = true
	if err == nil {
		err = ErrEnded
	}
	cl.half.endLocked(err)
	cl.done <- struct{}{}
}

// onFinal ends the call that a response or error names.
func (c *Conn) onFinal(in *incoming) error {
	buf := in.own()
	reply := Reply{Body: in.Body, Raw: in.Raw, Fence: in.Fence, MinIndex: in.MinIndex, rawSum: sumOfFrame(&in.Frame),
		buf: buf}
	var failure error
	if in.Kind == wire.KindError {
		e := new(wire.Error)
		if err := wire.Unmarshal(in.Body, e); err != nil {
			return faultError{fmt.Errorf("%s: %w", in.Header, err)}
		}
		e.RetryAfter = duration(in.Deadline)
		reply, failure = Reply{}, e
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.matchLocked(in); err != nil {
		return err
	}
	cl := c.calls[in.ID]
	delete(c.calls, in.ID)
	cl.endLocked(reply, failure)
	if len(c.calls) == 0 {
		c.checkIdleLocked()
	}
	return nil
}
