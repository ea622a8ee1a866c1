package datapath

import (
	"errors"
	"io"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// pieces gathers chunks to appends of AppendBytes bytes.
type pieces struct {
	recv   func() ([]byte, error)
	stalls func() (over func() bool) // begins to wait for a chunk; over ends that, and reports whether it was too long
	hold   func(int) error           // asks for memory
	expect int64                     // how many bytes will come; less than 0: the caller does not know
	got    int64                     // Invariant: got <= expect, unless expect is less than 0.
	first  []byte                    // put back, before rest
	rest   []byte                    // what was received beyond the last piece
	buf    []byte
	end    bool
}

// next is the next piece, valid until the following call. last reports that no byte follows it, and that
// as many have come as were announced.
func (r *pieces) next() (p []byte, last bool, err error) {
	if r.buf == nil {
		size := int64(AppendBytes)
		if r.expect >= 0 {
			size = min(size, r.expect)
		}
		if err := r.hold(int(size)); err != nil {
			return nil, false, err
		}
		r.buf = make([]byte, 0, size)
	}
	r.buf = append(r.buf[:0], r.rest...)
	r.rest = nil
	for !r.end && len(r.buf) <= AppendBytes {
		chunk, err := r.receive()
		if errors.Is(err, io.EOF) {
			r.end = true
			break
		}
		if err != nil {
			return nil, false, err
		}
		room := AppendBytes - len(r.buf)
		if len(chunk) > room {
			r.buf = append(r.buf, chunk[:room]...)
			r.rest = append([]byte(nil), chunk[room:]...)
			return r.buf, false, nil
		}
		r.buf = append(r.buf, chunk...)
	}
	return r.buf, true, nil
}

// fill fills p with what comes next, and last reports that it is the end, as next does. A piece that next has returned
// is put back by giving it as r.first; next is not called any more.
func (r *pieces) fill(p []byte) (n int, last bool, err error) {
	for n < len(p) {
		switch {
		case len(r.first) > 0:
			k := copy(p[n:], r.first)
			r.first, n = r.first[k:], n+k
		case len(r.rest) > 0:
			k := copy(p[n:], r.rest)
			r.rest, n = r.rest[k:], n+k
		case r.end:
			return n, true, nil
		default:
			if r.rest, err = r.receive(); errors.Is(err, io.EOF) {
				r.end = true
			} else if err != nil {
				return n, false, err
			}
		}
	}
	return n, false, nil
}

// errStalled is why a put whose sender sends nothing ends.
var errStalled = errors.New("the sender has stalled")

// piecesOf are those that a call brings. What a node holds of a put it holds for SenderLimit more at most after a chunk
// and before the next: the call is failed then, and with it the wait for a chunk ends. Nothing is acknowledged of it,
// though its last chunk should come at this very moment.
func (dp *Path) piecesOf(c *mux.ServerCall, expect int64) *pieces {
	stalls := func() func() bool {
		stop := dp.o.Clock.AfterFunc(dp.o.SenderLimit, func() {
			// A call that has ended meanwhile cannot be answered, and need not be.
			_ = c.Fail(wire.Errorf(c.Op(), wire.CodeDeadline, "nothing came for %s, so what had come is not kept: put it again "+
				"when all of it is there, from a file if the program that makes it pauses for so long", dp.o.SenderLimit))
		})
		return func() bool { return !stop() }
	}
	return &pieces{recv: c.Recv, stalls: stalls, hold: c.Hold, expect: expect}
}

// receive is the next chunk, io.EOF after the last. A caller that sends more or less than it announced has
// made a mistake, or its input has changed meanwhile: what came is not what it meant to store.
func (r *pieces) receive() ([]byte, error) {
	over := r.stalls()
	chunk, err := r.recv()
	if over() {
		return nil, errStalled
	}
	r.got += int64(len(chunk))
	switch {
	case r.expect >= 0 && r.got > r.expect:
		return nil, wire.Errorf(0, wire.CodeInvalid, "%d bytes were announced and more have come", r.expect)
	case errors.Is(err, io.EOF) && r.got < r.expect:
		return nil, wire.Errorf(0, wire.CodeInvalid, "%d bytes were announced and %d have come", r.expect, r.got)
	}
	return chunk, err
}
