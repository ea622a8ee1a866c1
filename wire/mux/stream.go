package mux

import (
	"context"
	"errors"
	"io"

	"github.com/datanode/datanode/wire"
)

// Stream is a call with chunks, seen by its caller. One goroutine may send and another receive at the same
// time. It must be closed.
type Stream struct {
	cl   *call
	stop func() bool // stops watching the context of Open
}

// Open starts a call with chunks. ctx is for the whole call: when it ends, the call is cancelled.
func (c *Conn) Open(ctx context.Context, req Request) (*Stream, error) {
	flags := wire.FlagStream
	if req.End {
		flags |= wire.FlagEnd
	}
	cl := newCall()
	written, err := c.submit(ctx, cl, &req, flags)
	if err != nil {
		return nil, err
	}
	s := &Stream{cl: cl}
	s.stop = context.AfterFunc(ctx, func() { _ = c.abandon(cl, ctx.Err()) }) // its error is in the call
	if written != nil {
		<-written
	}
	return s, nil
}

// Send sends p, waiting for credit. Up to a quarter megabyte, or half the peer's window if that is less, it
// arrives as one chunk; more is split. After it returns p may be changed. ErrEnded says that the peer has
// answered already: see Reply.
func (s *Stream) Send(p []byte) error { return s.cl.sendAll(p) }

// SendBytes is Send for bytes in parts, whose sum may be known. They arrive as one chunk if as many would of Send's.
func (s *Stream) SendBytes(b Bytes) error { return s.cl.sendBytes(b) }

// CloseSend says to the peer that no chunk follows.
func (s *Stream) CloseSend() error { return s.cl.closeSend() }

// Recv is the next chunk from the peer, valid until the next Recv or Close; io.EOF once the final reply is there.
// It is the call's error when it failed.
func (s *Stream) Recv() ([]byte, error) {
	p, err := s.cl.receive()
	if err != nil {
		s.stop()
	}
	return p, err
}

// RecvSum is Recv, and the CRC32C of the chunk, which is mostly known since the chunk was checked.
func (s *Stream) RecvSum() (p []byte, sum uint32, err error) {
	p, sum, err = s.cl.receiveSum()
	if err != nil {
		s.stop()
	}
	return p, sum, err
}

// Reply waits for the response; chunks not received are dropped.
func (s *Stream) Reply() (Reply, error) {
	for {
		if _, err := s.Recv(); err != nil {
			if !errors.Is(err, io.EOF) {
				return Reply{}, err
			}
			break
		}
	}
	<-s.cl.done
	s.cl.done <- struct{}{} // for whoever asks again
	return s.cl.reply, s.cl.err
}

// Cancel gives the call up, if it has not ended.
func (s *Stream) Cancel() { _ = s.cl.c.abandon(s.cl, context.Canceled) } // its error is in the call

// Close ends the use of the stream, and cancels the call if it has not ended. No other method may be running.
func (s *Stream) Close() {
	s.stop()
	s.Cancel()
	s.cl.release()
}

// release drops what was received.
func (h *half) release() {
	h.held.free()
	h.held = nil
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	h.discardLocked()
}

// sendAll sends p in as few chunks as it takes.
func (h *half) sendAll(p []byte) error {
	for len(p) > 0 {
		h.c.mu.Lock()
		n := min(len(p), h.pieceLocked())
		if err := h.sendChunkLocked(h.onePart(p[:n]), n); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// sendBytes sends b in one chunk, or where that is too large each part in as few as it takes.
func (h *half) sendBytes(b Bytes) error {
	n := b.Len()
	if n == 0 {
		return nil
	}
	h.c.mu.Lock()
	if n <= h.pieceLocked() {
		return h.sendChunkLocked(b, n)
	}
	h.c.mu.Unlock()
	for _, p := range b.Parts {
		if err := h.sendAll(p); err != nil {
			return err
		}
	}
	return nil
}

// sendChunkLocked sends a chunk of n bytes. It unlocks Conn.mu.
func (h *half) sendChunkLocked(b Bytes, n int) error {
	f := outFrame{half: h, hdr: wire.Header{Kind: wire.KindChunk, Op: h.op, Session: h.session}}
	if err := h.awaitCreditLocked(chunkCost(n)); err != nil {
		h.c.mu.Unlock()
		return err
	}
	if n <= borrowBytes {
		f.buf = newBuffer(n)
	}
	f.setRaw(h, b, n)
	written := f.written
	h.placeLocked(&f.hdr, n)
	h.c.sendLocked(f)
	h.c.mu.Unlock()
	if written != nil {
		<-written // the bytes are the caller's again
	}
	return nil
}

// writtenChan is where the call's sender learns that its borrowed bytes are written. There is one frame at
// a time, so one channel serves all.
func (h *half) writtenChan() chan struct{} {
	if h.written == nil {
		h.written = make(chan struct{}, 1)
	}
	return h.written
}

// placeLocked says where in the call's bytes a chunk of n bytes begins, to a peer that asks for it.
func (h *half) placeLocked(hdr *wire.Header, n int) {
	if h.c.limits.offsets {
		hdr.MinIndex = h.sent
		h.sent += uint64(n)
	}
}

func (h *half) closeSend() error {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	if h.over != nil {
		return h.over
	}
	if !h.sendEnded {
		h.sendEnded = true
		f := outFrame{half: h, hdr: wire.Header{Kind: wire.KindChunk, Op: h.op, Session: h.session, Flags: wire.FlagEnd}}
		h.placeLocked(&f.hdr, 0)
		h.c.pushLocked(f)
	}
	return nil
}
