package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/datanode/datanode/crc32c"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// Read writes stored bytes to w, in order. When a node fails half way, reading goes on where it
// stopped, at another; when an error is returned, w has been given a whole prefix of the bytes and
// nothing else. The reply counts all bytes, and names the node that the last of them came from.
//
// The bytes are checked against the sum of what their records at the node say, end to end, if the node is not older
// than that. When they differ the error is CodeCorrupt, and what w was given is not to be believed: of a read of more
// than wire.MaxInlineBytes it is found out at the end.
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
	if inline(conn, &ask) {
		return r.attemptInline(ctx, conn, to, ask)
	}
	req := r.c.request(wire.OpRead, to, &ask)
	req.End = true
	s, err := conn.Open(ctx, req)
	if err != nil {
		return err
	}
	defer s.Close()
	before := r.reached
	sum, err := r.receive(s, ask)
	if err != nil {
		return err
	}
	answer, err := s.Reply()
	if err != nil {
		return err
	}
	return r.judge(ask, answer, r.reached-before, sum)
}

// inline reports whether the node can send what is asked for with its reply, and sets how much that is. It is a call
// without chunks then, which costs both sides half as much. A call that the node passes on to another one is not:
// that may be older.
func inline(conn *mux.Conn, ask *wire.ReadRequest) bool {
	n := ask.Locator.Length
	if ask.Whole || n == 0 || n > uint64(min(wire.MaxInlineBytes, conn.MaxRaw())) || !conn.Has(wire.FeatureReadInline) ||
		ask.Node != "" && ask.Node != conn.Peer().Node {
		return false
	}
	ask.Inline = uint32(n)
	return true
}

// attemptInline is attempt for bytes that come with the reply. They are judged before w is given any.
func (r *reading) attemptInline(ctx context.Context, conn *mux.Conn, to route, ask wire.ReadRequest) error {
	answer, err := conn.Call(ctx, r.c.request(wire.OpRead, to, &ask))
	if err != nil {
		return err
	}
	defer answer.Free()
	if err := r.judge(ask, answer, uint64(len(answer.Raw)), answer.RawSum()); err != nil {
		return err
	}
	return r.write(answer.Raw)
}

// judge compares a reply with what was asked for and with the bytes that came.
func (r *reading) judge(ask wire.ReadRequest, answer mux.Reply, got uint64, sum uint32) error {
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
	if err := checkRead(ask, reply, got); err != nil {
		return err
	}
	if reply.Summed && reply.Sum != sum {
		return &wire.Error{Op: wire.OpRead, Code: wire.CodeCorrupt, Outcome: wire.NotDone, Node: reply.Node,
			Detail: fmt.Sprintf("the bytes of %s came with checksum %08x, the node read them with %08x: do not use them; "+
				"read again, from another node", ask.Locator, sum, reply.Sum)}
	}
	return nil
}

// receive hands chunks on to w until the reply is there, and answers their sum.
func (r *reading) receive(s *mux.Stream, ask wire.ReadRequest) (sum uint32, err error) {
	left := ask.Locator.Length
	for {
		p, of, err := s.RecvSum()
		switch {
		case errors.Is(err, io.EOF):
			return sum, nil
		case err != nil:
			return 0, err
		case !ask.Whole && uint64(len(p)) > left:
			return 0, wire.Errorf(wire.OpRead, wire.CodeProtocol, "the node sent more than the %d bytes of %s",
				ask.Locator.Length, ask.Locator)
		}
		left -= min(left, uint64(len(p)))
		sum = crc32c.Combine(sum, of, int64(len(p)))
		if err := r.write(p); err != nil {
			return 0, err
		}
	}
}

func (r *reading) write(p []byte) error {
	n, err := r.w.Write(p)
	r.reached += uint64(n)
	r.further = r.further || n > 0
	if err != nil {
		return fmt.Errorf("read: write the output: %w", err)
	}
	return nil
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
