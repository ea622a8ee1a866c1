package client

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

const (
	// ReadersMost bounds how many parts ReadAtOnce reads at once.
	ReadersMost = 4
	// segmentBytes is how much one of its readers reads before it takes the next part.
	segmentBytes = 8 << 20
)

// ReadAtOnce writes what locators name to w, each byte at its place from 0 on, several parts at a time, from the nodes
// that hold replicas by turns. It returns when all is there, or with the first error; w then has been given some of the
// parts. Of memory it takes a few chunks for each of ReadersMost readers, whatever is read.
func (c *Client) ReadAtOnce(ctx context.Context, ls wire.Locators, w io.WriterAt) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	segments := make(chan segment)
	var wg sync.WaitGroup
	for range ReadersMost {
		wg.Go(func() {
			for s := range segments {
				if err := c.readSegment(ctx, s, w); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	c.cut(ctx, ls, segments)
	close(segments)
	wg.Wait()
	return context.Cause(ctx)
}

// segment is a part of what is read, and where it goes.
type segment struct {
	locator wire.Locator
	at      int64
	addr    string // of the node that is to be asked first; empty: any
}

// cut hands out segments until all are, or ctx ends.
func (c *Client) cut(ctx context.Context, ls wire.Locators, to chan<- segment) {
	at, turn := int64(0), 0
	for _, l := range ls {
		addrs := c.holders(ctx, l)
		for left := l; left.Length > 0; turn++ {
			s := segment{locator: left, at: at}
			s.locator.Length = min(left.Length, segmentBytes)
			if len(addrs) > 0 {
				s.addr = addrs[turn%len(addrs)]
			}
			select {
			case to <- s:
			case <-ctx.Done():
				return
			}
			left.Offset, left.Length = left.Offset+s.locator.Length, left.Length-s.locator.Length
			at += int64(s.locator.Length)
		}
	}
}

// holders are the addresses of the nodes that hold whole replicas. Where that cannot be learned there are none: the
// read itself says what is wrong.
func (c *Client) holders(ctx context.Context, l wire.Locator) []string {
	e, err := c.Extent(ctx, l.Extent)
	if err != nil {
		return nil
	}
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return nil
	}
	var addrs []string
	for _, r := range e.Replicas {
		for _, n := range nodes {
			if n.ID == r.Node && n.State == "up" && r.State == "whole" && n.Addr != "" {
				addrs = append(addrs, n.Addr)
			}
		}
	}
	return addrs
}

// readSegment reads a segment from the node that it names, and what that does not give from any other.
func (c *Client) readSegment(ctx context.Context, s segment, w io.WriterAt) error {
	out := io.NewOffsetWriter(w, s.at)
	r := reading{c: c, want: wire.ReadRequest{Locator: s.locator}, w: out}
	if s.addr != "" {
		err := c.attempt(ctx, s.addr, func(conn *mux.Conn) error {
			return r.attempt(ctx, conn, route{addr: s.addr, latest: true})
		})
		if err == nil || ctx.Err() != nil || !repeatable(err) && !errors.As(err, new(*notConnected)) {
			return err
		}
	}
	rest := s.locator
	rest.Offset, rest.Length = rest.Offset+r.reached, rest.Length-r.reached
	if rest.Length == 0 {
		return nil
	}
	_, err := c.Read(ctx, wire.ReadRequest{Locator: rest}, out)
	return err
}
