package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// PutOptions say how bytes are stored. The zero value lets the cell choose.
type PutOptions struct {
	Class string
	// Length is how many bytes the reader has; 0 or less when that is not known. A reader that turns
	// out to have more or fewer makes the put fail.
	Length int64
	// Extent is the open extent to append to; 0 lets the node choose or make one.
	Extent uint64
}

// Put stores what r has, and returns when it is durable on all replicas. A failed put is made again
// only when nothing was stored and r can be read again: when it is an io.Seeker or was not read yet.
func (c *Client) Put(ctx context.Context, r io.Reader, o PutOptions) (wire.Locator, error) {
	p := putting{r: r, req: wire.PutRequest{Class: o.Class, Length: o.Length, Extent: o.Extent}}
	if p.req.Length <= 0 {
		p.req.Length = -1
	}
	if s, ok := r.(io.Seeker); ok {
		if at, err := s.Seek(0, io.SeekCurrent); err == nil { // a pipe has Seek too, but it fails
			p.seeker, p.start = s, at
		}
	}
	err := c.run(ctx, wire.OpPut, route{}, p.repeatable, func(conn *mux.Conn) error {
		return p.attempt(ctx, conn, c.request(wire.OpPut, route{}, &p.req))
	})
	return p.locator, err
}

// putting is one Put.
type putting struct {
	r       io.Reader
	req     wire.PutRequest
	seeker  io.Seeker // nil: r cannot be read twice
	start   int64
	sent    uint64 // of the attempt under way
	locator wire.Locator
}

func (p *putting) attempt(ctx context.Context, conn *mux.Conn, req mux.Request) error {
	if p.sent > 0 {
		if _, err := p.seeker.Seek(p.start, io.SeekStart); err != nil {
			return fmt.Errorf("put: read the input again: %w", err)
		}
		p.sent = 0
	}
	s, err := conn.Open(ctx, req)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := p.send(s); err != nil && !errors.Is(err, mux.ErrEnded) {
		return err
	}
	answer, err := s.Reply()
	if err != nil {
		return err
	}
	if err := decode(wire.OpPut, answer, &p.locator); err != nil {
		return err
	}
	if p.locator.Length != p.sent {
		return &wire.Error{Op: wire.OpPut, Code: wire.CodeProtocol, Outcome: wire.Unknown,
			Detail: fmt.Sprintf("the cell says that it stored %s, but %d bytes were sent", p.locator, p.sent)}
	}
	return nil
}

// repeatable tells whether the put may be made again after err.
func (p *putting) repeatable(err error) bool {
	return onlyUndone(err) && (p.sent == 0 || p.seeker != nil)
}

// send sends all that r has. ErrEnded says that the answer is there already.
func (p *putting) send(s *mux.Stream) error {
	buf := make([]byte, wire.MaxChunkBytes)
	for {
		n, err := io.ReadFull(p.r, buf)
		p.sent += uint64(n)
		if want := p.req.Length; want >= 0 && p.sent > uint64(want) {
			return wire.Errorf(wire.OpPut, wire.CodeInvalid, "the input is longer than the %d bytes announced", want)
		}
		if n > 0 {
			if err := s.Send(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return p.end(s)
		case err != nil:
			return fmt.Errorf("put: read the input: %w", err)
		}
	}
}

// end tells the cell that this was all. Only this makes a put complete: an input that breaks off
// cancels it instead.
func (p *putting) end(s *mux.Stream) error {
	if want := p.req.Length; want >= 0 && p.sent < uint64(want) {
		return wire.Errorf(wire.OpPut, wire.CodeInvalid, "the input ended after %d bytes, %d were announced", p.sent, want)
	}
	return s.CloseSend()
}
