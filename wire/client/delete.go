package client

import (
	"context"
	"slices"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// punchesInFlight bounds the deletes of a client that are under way. It is below the number of answers that the cell
// keeps for a session, so that one whose reply was lost can be repeated.
const punchesInFlight = 64

// Delete deletes what puts have stored, by their locators, as many as there are: from when it returns no read gives a
// byte of them any more. refused has an error for each locator that was not deleted, nil for the others; the error
// says that nothing is known of those from the first nil of an unfinished batch on, and refused is as long as what is
// known. Each range is deleted once, however often the request has to be repeated.
//
// A range that is deleted already, is not there, or is of another birth is CodeNotFound.
func (c *Client) Delete(ctx context.Context, locators []wire.Locator) (refused []error, err error) {
	return c.punch(ctx, locators, false)
}

// CheckDelete says which locators Delete would refuse, without deleting anything.
func (c *Client) CheckDelete(ctx context.Context, locators []wire.Locator) (refused []error, err error) {
	return c.punch(ctx, locators, true)
}

func (c *Client) punch(ctx context.Context, locators []wire.Locator, dryRun bool) (refused []error, err error) {
	select {
	case c.punching <- struct{}{}:
	case <-ctx.Done():
		return nil, &wire.Error{Op: wire.OpPunch, Code: wire.CodeCancelled, Outcome: wire.NotDone, Detail: ctx.Err().Error()}
	}
	defer func() { <-c.punching }()
	refused = make([]error, 0, len(locators))
	for batch := range slices.Chunk(locators, wire.MaxPunches) {
		some, err := c.punchBatch(ctx, batch, dryRun)
		if err != nil {
			return refused, err
		}
		refused = append(refused, some...)
	}
	return refused, nil
}

// punchBatch is one request, repeated in another session if the cell has forgotten the one it was in and nothing may
// have been done.
func (c *Client) punchBatch(ctx context.Context, locators []wire.Locator, dryRun bool) ([]error, error) {
	req := &wire.PunchRequest{DryRun: dryRun, Ranges: make([]wire.PunchRange, len(locators))}
	for i, l := range locators {
		req.Ranges[i] = wire.PunchRange{Extent: l.Extent, Offset: l.Offset, Length: l.Length, Birth: l.Birth}
	}
	for attempt := 0; ; attempt++ {
		if !dryRun {
			session, seq, err := c.session.Number(ctx, 1, c.openSession)
			if err != nil {
				return nil, err
			}
			req.Session, req.Seq = session, seq
		}
		reply, doubt, err := c.punchOnce(ctx, req)
		if LosesSession(wire.CodeOf(err)) {
			c.session.Forget(req.Session)
		}
		switch {
		case err == nil:
			return refusals(reply, len(locators))
		case wire.CodeOf(err) != wire.CodeSession || dryRun:
			return nil, err
		case doubt || attempt > 0:
			return nil, &wire.Error{Op: wire.OpPunch, Code: wire.CodeSession, Outcome: wire.Unknown,
				Detail: "the client's session expired while it was asking: the ranges may be deleted; ask again"}
		}
	}
}

// punchOnce sends one request until it is answered. doubt reports whether an attempt before the last may have been
// carried out.
func (c *Client) punchOnce(ctx context.Context, req *wire.PunchRequest) (reply wire.PunchReply, doubt bool, err error) {
	err = c.run(ctx, wire.OpPunch, route{}, repeatable, func(conn *mux.Conn) error {
		answer, err := conn.Call(ctx, c.request(wire.OpPunch, route{}, req))
		if err != nil {
			doubt = doubt || wire.OutcomeOf(err) == wire.Unknown
			return err
		}
		return decode(wire.OpPunch, answer, &reply)
	})
	c.sawIndex(reply.Index)
	return reply, doubt, err
}

func refusals(reply wire.PunchReply, ranges int) ([]error, error) {
	all := make([]error, ranges)
	for _, no := range reply.Refused {
		if int(no.At) >= ranges || no.Code == 0 {
			return nil, &wire.Error{Op: wire.OpPunch, Code: wire.CodeProtocol, Outcome: wire.Unknown,
				Detail: "the answer refuses a range that was not asked for; nothing of it is believed"}
		}
		all[no.At] = wire.Errorf(wire.OpPunch, no.Code, "%s", no.Detail)
	}
	return all, nil
}
