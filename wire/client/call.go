package client

import (
	"context"
	"fmt"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// nothing is the reply of calls whose answer is only that it was done.
type nothing struct{}

// call makes one call without chunks and decodes its reply.
func call[R any](ctx context.Context, c *Client, to route, safe safety, op wire.OpType, body any) (R, error) {
	var reply R
	err := c.run(ctx, op, to, safe, func(conn *mux.Conn) error {
		answer, err := conn.Call(ctx, c.request(op, to, body))
		if err != nil {
			return err
		}
		return decode(op, answer, &reply)
	})
	return reply, err
}

// request is one in the session of its class of work, so that no put or read holds up a control call.
func (c *Client) request(op wire.OpType, to route, body any) mux.Request {
	r := mux.Request{Op: op, Session: op.SessionFor(body), Body: body}
	if to.latest {
		r.MinIndex = c.seen.Load()
	}
	return r
}

// about refuses an answer that is about something else than was asked for.
func about[T comparable](op wire.OpType, what string, want, got T) error {
	if got == want {
		return nil
	}
	return &wire.Error{Op: op, Code: wire.CodeProtocol, Outcome: wire.Unknown,
		Detail: fmt.Sprintf("the answer is about %s %v, want %v; it is not believed", what, got, want)}
}

func decode[R any](op wire.OpType, answer mux.Reply, reply *R) error {
	if _, none := any(reply).(*nothing); none {
		return nil
	}
	if err := answer.Decode(reply); err != nil {
		return &wire.Error{Op: op, Code: wire.CodeProtocol, Outcome: wire.Done,
			Detail: "the reply cannot be understood: " + err.Error()}
	}
	return nil
}
