package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/datanode/datanode/wire"
)

// PutParts is Put of what may be too large for one extent: it is cut after each most bytes, and each part is stored by
// a put of its own, which fails or is made again alone. The locators name the parts in order; most of 0 or less cuts
// nothing. After an error those of the parts that are stored are returned with it: nobody else names them.
//
// The client cuts, and not the node that takes the put: a part that fails is read again without those before it, each
// part goes by way of whichever node is well then, and nodes of any build can store it.
func (c *Client) PutParts(ctx context.Context, r io.Reader, o PutOptions, most int64) (wire.Locators, error) {
	if most <= 0 || o.Length > 0 && o.Length <= most || o.Extent != 0 {
		l, err := c.Put(ctx, r, o)
		if err != nil {
			return nil, err
		}
		return wire.Locators{l}, nil
	}
	in := newCutter(r, o.Length, most)
	var parts wire.Locators
	for {
		part, length := in.next()
		l, err := c.Put(ctx, part, PutOptions{Class: o.Class, Length: length})
		if err != nil {
			return parts, in.halfStored(err, parts)
		}
		parts = append(parts, l)
		if more, err := in.more(); err != nil || !more {
			return parts, in.halfStored(err, parts)
		}
	}
}

// cutter cuts a reader into parts.
type cutter struct {
	r    io.Reader
	seek io.Seeker // nil: what was read cannot be read again
	left int64     // bytes that are to come, less than 0: not known
	most int64
}

func newCutter(r io.Reader, length, most int64) *cutter {
	c := &cutter{r: r, left: length, most: most}
	if length <= 0 {
		c.left = -1
	}
	if s, ok := r.(io.Seeker); ok && c.left > 0 {
		if _, err := s.Seek(0, io.SeekCurrent); err == nil { // a pipe has Seek too, but it fails
			c.seek = s
			return c
		}
	}
	c.r = bufio.NewReaderSize(r, wire.MaxChunkBytes) // to look whether there is more
	return c
}

// next is the next part, and its length, -1 if that is not known.
func (c *cutter) next() (io.Reader, int64) {
	length := c.most
	if c.left >= 0 {
		if length >= c.left {
			length, c.left = c.left, 0
			return c.r, length // not cut: a reader that is longer than was said is to be noticed
		}
		c.left -= length
	}
	p := &part{r: c.r, size: length, left: length}
	if c.left < 0 {
		length = -1
	}
	if c.seek != nil {
		return &seekingPart{part: p, seek: c.seek}, length
	}
	return p, length
}

// more reports whether another part follows.
func (c *cutter) more() (bool, error) {
	if c.left >= 0 {
		return c.left > 0, nil
	}
	_, err := c.r.(*bufio.Reader).Peek(1)
	switch {
	case errors.Is(err, io.EOF):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("put: read the input: %w", err)
	}
	return true, nil
}

// halfStored says with err which parts are stored, if any are.
func (c *cutter) halfStored(err error, parts wire.Locators) error {
	if err == nil || len(parts) == 0 {
		return err
	}
	again := ""
	if c.seek == nil {
		again = ", what was read behind them cannot be read again"
	}
	return fmt.Errorf("%w; the first %d bytes are stored as %s%s: put what follows them, or remove these",
		err, parts.Length(), parts, again)
}

// part reads a part.
type part struct {
	r          io.Reader
	size, left int64
}

func (p *part) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n, err := p.r.Read(b[:min(int64(len(b)), p.left)])
	p.left -= int64(n)
	return n, err
}

// seekingPart is a part that can be read again.
type seekingPart struct {
	*part
	seek io.Seeker
	base int64 // where it begins; set by the first Seek, which is to the current place
}

func (p *seekingPart) Seek(offset int64, whence int) (int64, error) {
	at, err := p.seek.Seek(offset, whence)
	if err != nil {
		return at, err
	}
	if p.left == p.size {
		p.base = at
	}
	p.left = p.size - (at - p.base)
	return at, nil
}
