package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// Read writes stored bytes to w, in order. When a node fails half way, reading goes on where it
// stopped, at another; when an error is returned, w has been given a whole prefix of the bytes and
// nothing else. The reply counts all bytes, and names the node that the last of them came from.
func (c *Client) Read(ctx context.Context, req wire.ReadRequest, w io.Writer) (wire.ReadReply, error) {
	r := reading{c: c, want: req, w: w}
	to := route{latest: true}
	for {
		err := c.run(ctx, wire.OpRead, to, r.repeatable, func(conn *mux.Conn) error { return r.attempt(ctx, conn, to) })
		if err == nil || !r.further || !repeatable(err) {
			return wire.ReadReply{Length: r.reached, Node: r.node}, err
		}
		if err := r.resume(ctx); err != nil {
			return wire.ReadReply{Length: r.reached, Node: r.node}, err
		}
	}
}

// reading is one Read.
type reading struct {
	c       *Client
	want    wire.ReadRequest
	w       io.Writer
	reached uint64 // bytes that w has been given
	further bool   // the newest attempt gave it some
	node    string
}

// repeatable ends a run of attempts after one that got further, so that the next run starts with
// fresh patience. A read of a terabyte may meet many restarts.
func (r *reading) repeatable(err error) bool { return !r.further && repeatable(err) }

// resume makes a read of a whole extent one of a range, now that a part of it is there.
func (r *reading) resume(ctx context.Context) error {
	r.further = false
	if !r.want.Whole {
		return nil
	}
	e, err := r.c.Extent(ctx, r.want.Locator.Extent)
	if err != nil {
		return err
	}
	if e.State != "sealed" || e.Length < r.reached {
		return wire.Errorf(wire.OpRead, wire.CodePrecondition,
			"extent %d is %s and %d bytes long, after %d bytes were read of it",
			e.ID, e.State, e.Length, r.reached)
	}
	r.want.Whole = false
	r.want.Locator = wire.Locator{Extent: e.ID, Length: e.Length, Birth: r.want.Locator.Birth}
	return nil
}

func (r *reading) attempt(ctx context.Context, conn *mux.Conn, to route) error {
	ask := r.want
	ask.Locator.Offset += r.reached
	ask.Locator.Length -= min(r.reached, ask.Locator.Length)
	if r.reached > 0 && ask.Locator.Length == 0 {
		return nil // only the last word was missing
	}
	req := r.c.request(wire.OpRead, to, &ask)
	req.End = true
	s, err := conn.Open(ctx, req)
	if err != nil {
		return err
	}
	defer s.Close()
	before := r.reached
	if err := r.receive(s, ask); err != nil {
		return err
	}
	answer, err := s.Reply()
	if err != nil {
		return err
	}
	var reply wire.ReadReply
	if err := decode(wire.OpRead, answer, &reply); err != nil {
		return err
	}
	if ask.Node != "" {
		if err := about(wire.OpRead, "the replica on", ask.Node, reply.Node); err != nil {
			return err
		}
	}
	r.node = reply.Node
	return checkRead(ask, reply, r.reached-before)
}

// receive hands chunks on to w until the reply is there.
func (r *reading) receive(s *mux.Stream, ask wire.ReadRequest) error {
	left := ask.Locator.Length
	for {
		p, err := s.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case !ask.Whole && uint64(len(p)) > left:
			return wire.Errorf(wire.OpRead, wire.CodeProtocol, "the node sent more than the %d bytes of %s", ask.Locator.Length,
				ask.Locator)
		}
		left -= min(left, uint64(len(p)))
		n, err := r.w.Write(p)
		r.reached += uint64(n)
		r.further = r.further || n > 0
		if err != nil {
			return fmt.Errorf("read: write the output: %w", err)
		}
	}
}

// checkRead compares what came with what was asked for and what the node says it sent.
func checkRead(ask wire.ReadRequest, reply wire.ReadReply, got uint64) error {
	if reply.Length != got || !ask.Whole && got != ask.Locator.Length {
		return wire.Errorf(wire.OpRead, wire.CodeProtocol,
			"%d bytes came, the node says that it sent %d, and %s was asked for",
			got, reply.Length, ask.Locator)
	}
	return nil
}
