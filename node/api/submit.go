package api

import (
	"context"

	"github.com/datanode/datanode/node/fair"
	"github.com/datanode/datanode/node/lead"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// ServeSession opens a session for the caller.
func (a *API) ServeSession(ctx context.Context, c *mux.ServerCall, req wire.SessionRequest) error {
	id, err := OpenSession(ctx, a.o.Log, req.Client, a.asker(c))
	if err != nil {
		return err
	}
	return c.Reply(&wire.SessionReply{Session: id}, nil)
}

// OpenSession opens a session through the log, on the leader, and gives its number. owner is whose it is, empty if
// nobody can tell.
func OpenSession(ctx context.Context, log *raftlog.Group, client string, owner state.Identity) (uint64, error) {
	open := &state.OpenSession{Client: wire.Clip(client, 64), AskedBy: log.View().Named(owner)}
	results, _, err := log.Propose(ctx, open)
	if err != nil {
		return 0, err
	}
	return uint64(results[0].Session), nil
}

// ServeSubmit has operations decided about, and admitted or refused: one result for each. A dry run says what would be.
func (a *API) ServeSubmit(ctx context.Context, c *mux.ServerCall, req wire.SubmitRequest) error {
	if err := a.o.CheckDeletes(c, req.OnlyDeletes()); err != nil {
		return err
	}
	subs, err := a.submissions(c, &req)
	if err != nil {
		return err
	}
	var reply wire.SubmitReply
	if !req.DryRun {
		if reply.Results, err = a.o.Lead.Submit(ctx, subs); err != nil {
			return err
		}
		return c.Reply(&reply, nil)
	}
	done, err := a.turn(ctx, c, fair.WorkTrials)
	if err != nil {
		return err
	}
	defer done()
	reply.Results = a.o.Lead.DryRun(ctx, subs)
	return c.Reply(&reply, nil)
}

// submissions are those of a request, with who asks.
func (a *API) submissions(c *mux.ServerCall, req *wire.SubmitRequest) ([]*lead.Submission, error) {
	if len(req.Submit) > maxSubmissions {
		return nil, wire.Errorf(c.Op(), wire.CodeInvalid,
			"%d submissions at once; at most %d", len(req.Submit), maxSubmissions)
	}
	origin := policies.OriginUser
	if c.Peer().Node != "" && req.Cell && !req.DryRun {
		origin = policies.OriginCell
	}
	subs := make([]*lead.Submission, len(req.Submit))
	asker, sharer := state.Identity(c.Asker()), a.o.Sharer(c)
	for i, s := range req.Submit {
		if err := checkOwner(c.Op(), req, s.Owner); err != nil {
			return nil, err
		}
		subs[i] = &lead.Submission{
			Submission: s, Session: state.SessionID(req.Session), Origin: origin, Asker: asker, Force: req.Force, Sharer: sharer,
		}
	}
	return subs, nil
}

// checkOwner refuses a submission that says whose its extent is to be, unless a node does on behalf of a put.
func checkOwner(op wire.OpType, req *wire.SubmitRequest, owner string) error {
	switch {
	case owner == "":
	case !req.Cell:
		return wire.Errorf(op, wire.CodeDenied, "an extent is of who asks for it; only nodes ask for one of %q", owner)
	case len(owner) > wire.MaxIdentityBytes || !wire.Plain(owner):
		return wire.Errorf(op, wire.CodeInvalid,
			"owner %q: want role and name of a certificate", wire.Clip(owner, wire.MaxIdentityBytes))
	}
	return nil
}
