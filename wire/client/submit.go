package client

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// submitAtOnce is how many operations one request asks for. It is well below the number of answers
// that the cell keeps for a session, so that a request whose reply was lost can always be repeated.
const submitAtOnce = 64

// SubmitOptions qualify a Submit.
type SubmitOptions struct {
	DryRun bool // only say what would happen
	Force  bool // admit although the leader's check says that it cannot succeed now
}

// Submit asks for operations. Their Seq is set here: each is run once, however often the request has
// to be repeated. Answers are in the order asked; each succeeds or fails alone, see Refusal. With an
// error come the answers that were had before it.
//
// When the cell has forgotten the session, as it does after a day without use, another is opened; but
// if an earlier attempt may have been carried out, the error is CodeSession and says so. An answer that is to something
// else than was asked is CodeProtocol: what the cell did is unknown then.
func (c *Client) Submit(ctx context.Context, ops []wire.Submission, o SubmitOptions) ([]wire.Submitted, error) {
	select {
	case c.submitting <- struct{}{}:
	case <-ctx.Done():
		return nil, &wire.Error{Op: wire.OpSubmit, Code: wire.CodeCancelled, Outcome: wire.NotDone, Detail: ctx.Err().Error()}
	}
	defer func() { <-c.submitting }()
	answers := make([]wire.Submitted, 0, len(ops))
	for batch := range slices.Chunk(ops, submitAtOnce) {
		some, err := c.submitBatch(ctx, batch, o)
		if err != nil {
			return answers, err
		}
		answers = append(answers, some...)
	}
	return answers, nil
}

// submitBatch is Submit for one request. The caller holds submitting.
func (c *Client) submitBatch(ctx context.Context, ops []wire.Submission, o SubmitOptions) ([]wire.Submitted, error) {
	for attempt := 0; ; attempt++ {
		req := wire.SubmitRequest{Submit: slices.Clone(ops), DryRun: o.DryRun, Force: o.Force}
		if !o.DryRun {
			if err := c.number(ctx, &req); err != nil {
				return nil, err
			}
		}
		results, doubt, err := c.submitOnce(ctx, &req)
		if LosesSession(wire.CodeOf(err)) || slices.ContainsFunc(results, losesSession) {
			c.session.Forget(req.Session) // the next request opens another
		}
		expired := wire.CodeOf(err) == wire.CodeSession || slices.ContainsFunc(results, sessionExpired)
		if !expired || o.DryRun {
			return results, err
		}
		all := err != nil || !slices.ContainsFunc(results, func(s wire.Submitted) bool { return !sessionExpired(s) })
		if doubt || !all || attempt > 0 {
			return nil, &wire.Error{Op: wire.OpSubmit, Code: wire.CodeSession, Outcome: wire.Unknown,
				Detail: "the client's session expired while it was asking: the operations may have been admitted; " +
					"look with op ls before asking again"}
		}
	}
}

func sessionExpired(s wire.Submitted) bool { return s.Code == wire.CodeSession }

func losesSession(s wire.Submitted) bool { return LosesSession(s.Code) }

// number gives each submission of a request the next number of the session, which it opens if need be.
func (c *Client) number(ctx context.Context, req *wire.SubmitRequest) error {
	session, first, err := c.session.Number(ctx, len(req.Submit), c.openSession)
	if err != nil {
		return err
	}
	req.Session = session
	for i := range req.Submit {
		req.Submit[i].Seq = first + uint64(i)
	}
	return nil
}

func (c *Client) openSession(ctx context.Context) (wire.SessionReply, error) {
	hello := &wire.SessionRequest{Client: c.opts.Name}
	return call[wire.SessionReply](ctx, c, route{}, repeatable, wire.OpSession, hello)
}

// submitOnce sends one request until it is answered. doubt reports whether an attempt before the last
// may have been carried out.
func (c *Client) submitOnce(ctx context.Context, req *wire.SubmitRequest) (results []wire.Submitted, doubt bool,
	err error) {
	var reply wire.SubmitReply
	err = c.run(ctx, wire.OpSubmit, route{}, repeatable, func(conn *mux.Conn) error {
		answer, err := conn.Call(ctx, c.request(wire.OpSubmit, route{}, req))
		if err != nil {
			doubt = doubt || wire.OutcomeOf(err) == wire.Unknown
			return err
		}
		return decode(wire.OpSubmit, answer, &reply)
	})
	if err != nil {
		return nil, doubt, err
	}
	if len(reply.Results) != len(req.Submit) {
		return nil, doubt, &wire.Error{Op: wire.OpSubmit, Code: wire.CodeProtocol, Outcome: wire.Unknown,
			Detail: "the number of answers is " + strconv.Itoa(len(reply.Results)) + ", want one for each of " +
				strconv.Itoa(len(req.Submit))}
	}
	for i := range reply.Results {
		if err := req.Submit[i].Fits(&reply.Results[i]); err != nil {
			c.opts.Logger.Warn("the answer to a submission is to another one", "session", req.Session, "number",
				req.Submit[i].Seq, "error", err)
			return nil, doubt, err
		}
	}
	for _, s := range reply.Results {
		c.sawOp(s.Op)
	}
	return reply.Results, doubt, nil
}

// sawOp remembers the log index of the entry that admitted an operation.
func (c *Client) sawOp(id string) {
	head, _, _ := strings.Cut(id, ".")
	if index, err := strconv.ParseUint(head, 10, 48); err == nil {
		c.sawIndex(index)
	}
}

// Refusal is why an operation was not admitted, as an error; nil when it was.
func Refusal(s wire.Submitted) error {
	if s.Code == 0 {
		return nil
	}
	return wire.Errorf(wire.OpSubmit, s.Code, "%s", s.Detail)
}
