package mux

import (
	"context"
	"errors"
	"math"
	"net"
	"time"

	"github.com/datanode/datanode/wire"
)

const (
	// finishedSlots is how many ended calls' names the accepting side remembers.
	finishedSlots = 256
	// maxRejects bounds the refusals queued for a peer that asks but does not listen.
	maxRejects = 1024
	// maxIdleHandlers is how many handler goroutines wait for the next call.
	maxIdleHandlers = 64
)

// ServerCall is a call, seen by its handler.
type ServerCall struct {
	half
	hdr      wire.Header
	body     []byte
	raw      []byte
	rawSum   received
	onBehalf string
	buf      *buffer // holds body and raw
	start    time.Time
	deadline time.Time // zero: none

	// Conn.mu owns the rest.
	answered bool
	reply    wire.Header // fence and index of the answer
	ctxErr   error
	ctxDone  chan struct{} // made when asked for
	watchers []*watcher    // of the context; few
	unarm    func() bool   // stops the deadline's timer
}

// Op is what is to be done.
func (sc *ServerCall) Op() wire.OpType { return sc.op }

// Session is the class of work.
func (sc *ServerCall) Session() wire.Session { return sc.session }

// Fence is the fence the caller works under, 0 for none.
func (sc *ServerCall) Fence() uint64 { return sc.hdr.Fence }

// MinIndex is the log index to have applied before answering.
func (sc *ServerCall) MinIndex() uint64 { return sc.hdr.MinIndex }

// Body is the request's encoded body.
func (sc *ServerCall) Body() []byte { return sc.body }

// Raw is what the request carries besides.
func (sc *ServerCall) Raw() []byte { return sc.raw }

// RawSum is the CRC32C of Raw, mostly known since the frame was checked.
func (sc *ServerCall) RawSum() uint32 { return sc.rawSum.of(sc.raw) }

// MaxRaw is how many raw bytes the answer may have.
func (sc *ServerCall) MaxRaw() int { return sc.c.MaxRaw() }

// Streams reports whether the caller takes chunks.
func (sc *ServerCall) Streams() bool { return sc.hdr.Flags&wire.FlagStream != 0 }

// Decode decodes the request's body into v.
func (sc *ServerCall) Decode(v any) error {
	if err := wire.Unmarshal(sc.body, v); err != nil {
		if sc.c.undecodable.Add(1+int32(len(sc.body)/undecodableBytes)) > maxUndecodable {
			sc.c.readFailed(fault("more than %d requests that cannot be decoded, or fewer large ones", maxUndecodable))
		}
		return wire.Errorf(sc.op, wire.CodeInvalid, "request: %v", err)
	}
	return nil
}

// Peer is the caller's hello.
func (sc *ServerCall) Peer() wire.Hello { return sc.c.peer }

// Remote is the address that the connection comes from.
func (sc *ServerCall) Remote() net.Addr { return sc.c.nc.RemoteAddr() }

// OnBehalf is who the caller says that it makes the call for, "" for itself. Only a node is to be believed.
func (sc *ServerCall) OnBehalf() string { return sc.onBehalf }

// Asker is who the call is made for: what the caller says, or else who it has proven to be; "" when it has not.
func (sc *ServerCall) Asker() string {
	if sc.onBehalf != "" {
		return sc.onBehalf
	}
	return sc.c.cfg.Identity
}

// Recv is the caller's next chunk, valid until the next Recv; io.EOF after the last.
func (sc *ServerCall) Recv() ([]byte, error) { return sc.receive() }

// RecvSum is Recv, and the CRC32C of the chunk.
func (sc *ServerCall) RecvSum() (p []byte, sum uint32, err error) { return sc.receiveSum() }

// Send sends a chunk to the caller as Stream.Send does.
func (sc *ServerCall) Send(p []byte) error {
	if !sc.Streams() {
		return wire.Errorf(sc.op, wire.CodeInvalid, "the caller takes no chunks")
	}
	return sc.sendAll(p)
}

// SendBytes sends a chunk to the caller as Stream.SendBytes does.
func (sc *ServerCall) SendBytes(b Bytes) error {
	if !sc.Streams() {
		return wire.Errorf(sc.op, wire.CodeInvalid, "the caller takes no chunks")
	}
	return sc.sendBytes(b)
}

// SetIndex sets the fence and the applied index that the answer will name.
func (sc *ServerCall) SetIndex(fence, index uint64) {
	sc.c.mu.Lock()
	defer sc.c.mu.Unlock()
	sc.reply.Fence, sc.reply.MinIndex = fence, index
}

// Reply answers the call. When it fails for what body or raw is, the call can still be answered.
func (sc *ServerCall) Reply(body any, raw []byte) error {
	return sc.answer(wire.KindResponse, body, sc.onePart(raw))
}

// ReplyBytes is Reply with raw bytes in parts, whose sum may be known. They are the caller's again when it returns.
func (sc *ServerCall) ReplyBytes(body any, raw Bytes) error {
	return sc.answer(wire.KindResponse, body, raw)
}

// Fail answers the call with err: a *wire.Error in its chain goes as it is, a context's error as
// cancelled or deadline, all else as internal, with an unknown outcome.
func (sc *ServerCall) Fail(err error) error {
	e := wireError(sc.op, err)
	if e.Node == "" {
		e.Node = sc.c.cfg.Hello.Node
	}
	return sc.answer(wire.KindError, &e, Bytes{})
}

func wireError(op wire.OpType, err error) wire.Error {
	e := wire.Error{Op: op, Code: wire.CodeInternal, Outcome: wire.Unknown}
	var typed *wire.Error
	switch {
	case errors.As(err, &typed):
		e = *typed
		if e.Op == 0 {
			e.Op = op
		}
		return e
	case errors.Is(err, context.Canceled):
		e.Code = wire.CodeCancelled
	case errors.Is(err, context.DeadlineExceeded):
		e.Code = wire.CodeDeadline
	}
	e.Detail = err.Error()
	return e
}

// micros is a time as headers have it.
func micros(d time.Duration) uint64 { return uint64(max(d.Microseconds(), 0)) }

// duration is a time that a header has, an hour at most: a peer may say what it likes.
func duration(micros uint64) time.Duration {
	return time.Duration(min(micros, uint64(time.Hour.Microseconds()))) * time.Microsecond
}

func (sc *ServerCall) answer(kind wire.Kind, body any, raw Bytes) error {
	c := sc.c
	select {
	case <-c.done:
		return sc.tooLate()
	default:
	}
	f := outFrame{served: sc, hdr: wire.Header{Kind: kind, ID: sc.id, Op: sc.op, Session: sc.session}}
	if e, ok := body.(*wire.Error); ok {
		f.hdr.Deadline = micros(e.RetryAfter)
	}
	if err := f.fill(&sc.half, body, raw, c.limits.frameBytes); err != nil {
		return err
	}
	if !sc.holdAnswer(&f) {
		f.take()
		f = outFrame{served: sc, hdr: f.hdr}
		f.hdr.Kind = wire.KindError
		e := exhausted(sc.op, wire.Done, "the answer")
		e.Node, f.hdr.Deadline = c.cfg.Hello.Node, micros(e.RetryAfter)
		if err := f.fill(&sc.half, e, Bytes{}, c.limits.frameBytes); err != nil {
			return err
		}
	}
	written := f.written
	c.mu.Lock()
	var err error
	switch {
	case sc.answered:
		err = ErrEnded
	case c.err != nil:
		err = connError(sc.op, wire.Unknown, c.peer.Node, c.err)
	default:
		sc.answered = true
		if kind == wire.KindResponse {
			c.responses++
		}
		f.hdr.Fence, f.hdr.MinIndex = sc.reply.Fence, sc.reply.MinIndex
		sc.endLocked(ErrEnded)
		c.sendLocked(f)
	}
	c.mu.Unlock()
	if err != nil {
		f.take()
		return err
	}
	if written != nil {
		<-written
	}
	return nil
}

// tooLate is why a call cannot be answered on a connection that has ended: it was answered before, or never will be.
func (sc *ServerCall) tooLate() error {
	sc.c.mu.Lock()
	defer sc.c.mu.Unlock()
	if sc.answered {
		return ErrEnded
	}
	return connError(sc.op, wire.Unknown, sc.c.peer.Node, sc.c.err)
}

// holdAnswer pays for a frame that waits for the peer to read: with what the call has, if that is enough,
// for the call may then end.
func (sc *ServerCall) holdAnswer(f *outFrame) bool {
	due := cap(f.buf.b) + len(f.raw) + f.moreLen
	paid := sc.c.account.move(sc.buf, f.buf, min(due, answerBytes))
	return due <= answerBytes || sc.c.account.chargeMore(f.buf, due-paid)
}

// Hold says that the handler is going to hold n bytes, until it returns, besides what the call has
// brought. The error says that there is no room for them now.
func (sc *ServerCall) Hold(n int) error {
	if !sc.c.account.chargeMore(sc.buf, n) {
		return exhausted(sc.op, wire.NotDone, "what this call needs")
	}
	return nil
}

// onRequest admits a request and hands it to a handler goroutine.
func (c *Conn) onRequest(in *incoming) error {
	buf := in.keep(&c.account, callBytes)
	now := c.cfg.Clock.Now()
	sc := &ServerCall{hdr: in.Header, body: in.Body, raw: in.Raw, rawSum: sumOfFrame(&in.Frame), buf: buf, start: now}
	if in.Flags&wire.FlagOnBehalf != 0 && buf != nil { // one that found no room is refused, unread
		var err error
		if sc.body, sc.onBehalf, err = wire.ParseOnBehalf(in.Body); err != nil {
			buf.free()
			return fault("%w", err)
		}
	}
	sc.half = half{c: c, served: sc, callName: callName{in.ID, in.Op, in.Session}, credit: int(c.peer.WindowBytes),
		recvEnded: in.Flags&wire.FlagEnd != 0}
	if in.Deadline > 0 {
		sc.deadline = now.Add(time.Duration(min(in.Deadline, math.MaxInt64/2000)) * time.Microsecond)
	}
	c.mu.Lock()
	if err := c.startableLocked(in); err != nil {
		c.mu.Unlock()
		buf.free()
		return err
	}
	c.lastID = in.ID
	c.noticeLocked(in.Session)
	inFlight, responses := c.open, c.responses
	refusal, excess := c.refusalLocked(sc), c.excessLocked()
	if refusal == nil {
		c.served[in.ID] = sc
		c.open++
		c.handlers++
		c.requestBytes += sc.bytes()
	}
	c.mu.Unlock()
	if refusal != nil {
		buf.free()
		if err := c.reject(sc, refusal); err != nil || !excess {
			return err
		}
		return c.patience.lose(patienceForExcess, c.cfg.Clock.Now)
	}
	c.handle(sc)
	c.paceRequests(inFlight, responses)
	return nil
}

// startableLocked reports whether a request may start a call on this connection at all. After the
// connection's end nobody would tell the handler of it.
func (c *Conn) startableLocked(in *incoming) error {
	if c.err != nil {
		return c.err
	}
	if in.ID <= c.lastID {
		return c.mismatch(MismatchReusedID, in, nil, "correlation ID used before")
	}
	return nil
}

func (sc *ServerCall) bytes() int { return len(sc.body) + len(sc.raw) }

// excessLocked reports whether as many calls as may be are in flight.
func (c *Conn) excessLocked() bool {
	return c.open >= c.cfg.MaxInFlight || c.handlers >= 2*c.cfg.MaxInFlight
}

func (c *Conn) refusalLocked(sc *ServerCall) *wire.Error {
	switch {
	case c.cfg.Handler == nil:
		return wire.Errorf(sc.op, wire.CodeUnavailable, "this side serves no calls")
	case c.draining:
		return wire.Errorf(sc.op, wire.CodeUnavailable, "going away: takes no new calls")
	case c.excessLocked():
		return wire.Errorf(sc.op, wire.CodeExhausted, "%d calls in flight, the limit", c.cfg.MaxInFlight)
	case sc.buf == nil:
		return exhausted(sc.op, wire.NotDone, "this call")
	case c.requestBytes+sc.bytes() > c.cfg.MaxRequestBytes:
		return wire.Errorf(sc.op, wire.CodeExhausted, "requests of %d bytes held, the limit is %d", c.requestBytes,
			c.cfg.MaxRequestBytes)
	}
	return nil
}

// reject refuses a request that gets no handler.
func (c *Conn) reject(sc *ServerCall, refusal *wire.Error) error {
	refusal.Node = c.cfg.Hello.Node
	f := outFrame{reject: true, hdr: wire.Header{Kind: wire.KindError, ID: sc.id, Op: sc.op, Session: sc.session,
		Deadline: micros(refusal.RetryAfter)}}
	body, err := wire.Marshal(refusal) // of its own size: a thousand may wait, and nobody has paid for them
	if err != nil {
		return err
	}
	f.buf, f.bodyLen = &buffer{b: body}, len(body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rejects++
	c.finished[sc.id%finishedSlots] = sc.callName
	c.pushLocked(f)
	if c.rejects > maxRejects {
		return fault("more than %d requests refused and the peer does not read", maxRejects)
	}
	return nil
}

// handle gives sc to an idle handler goroutine, or starts one. Only the reader calls it.
func (c *Conn) handle(sc *ServerCall) {
	select {
	case c.work <- sc:
	default:
		c.wg.Add(1)
		go c.handleLoop(sc)
	}
}

func (c *Conn) handleLoop(sc *ServerCall) {
	defer c.wg.Done()
	for {
		c.serve(sc)
		if c.idleHandlers.Add(1) > maxIdleHandlers {
			c.idleHandlers.Add(-1)
			return
		}
		select {
		case sc = <-c.work:
			c.idleHandlers.Add(-1)
			if sc == nil {
				return
			}
		case <-c.done:
			return
		}
	}
}

// trimHandlers ends half of the goroutines that wait for a call. Called now and then, it leaves those
// that a quiet connection needs.
func (c *Conn) trimHandlers() {
	for range c.idleHandlers.Load() / 2 {
		select {
		case c.work <- nil:
		default: // a call has come
		}
	}
}

func (c *Conn) serve(sc *ServerCall) {
	c.cfg.Handler.ServeCall((*callContext)(sc), sc)
	c.mu.Lock()
	answered, ctxErr := sc.answered, sc.ctxErr
	c.mu.Unlock()
	switch {
	case answered:
	case ctxErr != nil:
		_ = sc.Fail(ctxErr) // fails only with the connection
	default:
		_ = sc.Fail(errors.New("the handler returned without an answer")) // likewise
	}
	c.finish(sc)
}

// finish forgets a call whose handler has returned.
func (c *Conn) finish(sc *ServerCall) {
	c.mu.Lock()
	sc.cancelLocked(context.Canceled, ErrEnded)
	sc.discardLocked()
	delete(c.served, sc.id)
	c.finished[sc.id%finishedSlots] = sc.callName
	c.handlers--
	c.requestBytes -= sc.bytes()
	c.checkIdleLocked()
	c.mu.Unlock()
	sc.held.free()
	sc.buf.free()
}

func (c *Conn) onCancel(in *incoming) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, err := c.matchLocked(in)
	if err == nil && h != nil {
		h.served.cancelLocked(context.Canceled, ctxError(h.op, wire.Unknown, context.Canceled))
	}
	return err
}
