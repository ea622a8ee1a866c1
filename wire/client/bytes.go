package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

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

// keptBytes is how much of a reader that cannot be read twice is kept, so that a put can be repeated which is small, or
// for which no node has found an extent yet: by then a node has taken 1 MiB and a chunk, a window may be under way, and
// a chunk is read and not sent.
const keptBytes = 3 << 20

// Put stores what r has, and returns when it is durable on all replicas.
//
// A put that failed is made again at another node if r can be read again: when it is an io.Seeker, or not more
// than 3 MiB of it was read, which is so as long as no node has an extent for it. That is done also when it is not
// known whether the bytes were stored before the node was lost: at worst they are in the cell twice, and only the
// locator that is returned names any of them. An append to a named extent is made again only when nothing was
// appended.
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
	if p.seeker == nil {
		k := &keeper{r: r}
		p.r, p.seeker = k, k
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
	seeker  io.Seeker
	start   int64
	read    bool   // some of r may have been read
	sent    uint64 // of the attempt under way
	locator wire.Locator
}

func (p *putting) attempt(ctx context.Context, conn *mux.Conn, req mux.Request) error {
	if p.read {
		if _, err := p.seeker.Seek(p.start, io.SeekStart); err != nil {
			return fmt.Errorf("put: read the input again: %w", err)
		}
		p.sent = 0
	}
	bufp := chunks.Get().(*[]byte)
	defer chunks.Put(bufp)
	answer, err := p.exchange(ctx, conn, req, *bufp)
	if err != nil {
		return err
	}
	if err := decode(wire.OpPut, answer, &p.locator); err != nil {
		return err
	}
	if want := p.req.Extent; want != 0 {
		if err := about(wire.OpPut, "extent", want, p.locator.Extent); err != nil {
			return err
		}
	}
	if p.locator.Length != p.sent {
		return &wire.Error{Op: wire.OpPut, Code: wire.CodeProtocol, Outcome: wire.Unknown,
			Detail: fmt.Sprintf("the cell says that it stored %s, but %d bytes were sent", p.locator, p.sent)}
	}
	return nil
}

// repeatable reports whether the put may be made again after err, here or elsewhere.
func (p *putting) repeatable(err error) bool {
	if k, ok := p.seeker.(*keeper); ok && k.over {
		return false
	}
	if p.req.Extent != 0 {
		return onlyUndone(err)
	}
	return repeatable(err) || fullOrFailed(err)
}

// fullOrFailed reports whether a node cannot store anything now. Another one may.
func fullOrFailed(err error) bool {
	code := wire.CodeOf(err)
	return code == wire.CodeNoSpace || code == wire.CodeDiskFailed
}

// keeper makes the beginning of a reader readable again.
type keeper struct {
	r    io.Reader
	kept []byte // what was read, up to keptBytes
	at   int    // of kept, what is read next
	over bool   // more was read than is kept
	err  error  // how the reader ended, told again after kept
}

func (k *keeper) Read(p []byte) (int, error) {
	if k.at < len(k.kept) {
		n := copy(p, k.kept[k.at:])
		k.at += n
		return n, nil
	}
	if k.err != nil {
		return 0, k.err
	}
	n, err := k.r.Read(p)
	k.err = err
	switch {
	case k.over:
	case len(k.kept)+n > keptBytes:
		k.kept, k.at, k.over = nil, 0, true
	default:
		k.kept = append(k.kept, p[:n]...)
		k.at = len(k.kept)
	}
	return n, err
}

// Seek goes back to the beginning, which is the only place that is asked for.
func (k *keeper) Seek(int64, int) (int64, error) {
	if k.over {
		return 0, errors.New("more of the input was read than is kept")
	}
	k.at = 0
	return 0, nil
}

// chunks keeps what puts are read into.
var chunks = sync.Pool{New: func() any { b := make([]byte, wire.MaxChunkBytes); return &b }}

// exchange sends all that r has, in the request if the node takes it so, and gives the answer.
func (p *putting) exchange(ctx context.Context, conn *mux.Conn, req mux.Request, buf []byte) (mux.Reply, error) {
	first, err := 0, error(nil)
	if whole := p.mayBeWhole(conn); whole > 0 {
		p.read = true
		first, err = io.ReadFull(p.r, buf[:whole+1])
		if ended(err) {
			return p.sendWhole(ctx, conn, req, buf[:first])
		}
		if err != nil {
			return mux.Reply{}, fmt.Errorf("put: read the input: %w", err)
		}
	}
	s, err := conn.Open(ctx, req)
	if err != nil {
		return mux.Reply{}, err
	}
	defer s.Close()
	if err := p.send(s, buf, first); err != nil && !errors.Is(err, mux.ErrEnded) {
		return mux.Reply{}, err
	}
	return s.Reply()
}

// wholeBytes is the most that a put brings in its request: more would be in the way of other calls for too long.
const wholeBytes = 64 << 10

// mayBeWhole is how many bytes the node takes in the request; 0: none, or there are more.
func (p *putting) mayBeWhole(conn *mux.Conn) int {
	most := min(wholeBytes, int(conn.Peer().MaxFrameBytes)-requestRoom)
	if conn.Peer().Features&wire.FeatureWholePut == 0 || p.req.Extent != 0 || p.req.Length > int64(most) {
		return 0
	}
	return most
}

// requestRoom is what a frame needs besides the bytes of a put.
const requestRoom = 1 << 10

func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// sendWhole sends all of a put's bytes in its request.
func (p *putting) sendWhole(ctx context.Context, conn *mux.Conn, req mux.Request, all []byte) (mux.Reply, error) {
	p.sent = uint64(len(all))
	if err := p.checkLength(true); err != nil {
		return mux.Reply{}, err
	}
	whole := p.req
	whole.Length, whole.Whole = int64(len(all)), true
	req.Body, req.Raw = &whole, all
	return conn.Call(ctx, req)
}

// send sends all that r has, of which buf holds the first bytes already. ErrEnded says that the answer is there.
func (p *putting) send(s *mux.Stream, buf []byte, first int) error {
	for {
		p.read = true
		n, err := io.ReadFull(p.r, buf[first:])
		n, first = n+first, 0
		p.sent += uint64(n)
		if err := p.checkLength(false); err != nil {
			return err
		}
		if n > 0 {
			if err := s.Send(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case ended(err):
			if err := p.checkLength(true); err != nil {
				return err
			}
			return s.CloseSend() // only this makes a put complete: an input that breaks off cancels it instead
		case err != nil:
			return fmt.Errorf("put: read the input: %w", err)
		}
	}
}

// checkLength refuses an input that is not as long as was announced.
func (p *putting) checkLength(all bool) error {
	switch want := p.req.Length; {
	case want < 0:
	case p.sent > uint64(want):
		return wire.Errorf(wire.OpPut, wire.CodeInvalid, "the input is longer than the %d bytes announced", want)
	case all && p.sent < uint64(want):
		return wire.Errorf(wire.OpPut, wire.CodeInvalid, "the input ended after %d bytes, %d were announced", p.sent, want)
	}
	return nil
}
