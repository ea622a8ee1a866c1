package node

import (
	"context"
	"time"

	"github.com/datanode/datanode/node/api"
	"github.com/datanode/datanode/node/lead"
	"github.com/datanode/datanode/node/transport"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// reportPause is the pause before something is asked of the cell again.
const reportPause = 100 * time.Millisecond

// ownSession is this node's own session in the cell. What is submitted in it is carried out once, however often
// it has to be asked for while the leader changes.
type ownSession struct {
	n       *Node
	session client.Session
}

// submit submits one operation of the cell's own, until it is known what became of it, or ctx ends.
func (o *ownSession) submit(ctx context.Context, s wire.Submission) (wire.Submitted, error) {
	var session uint64 // that s has its number in
	for doubt, moved := false, false; ; {
		res, err := o.once(ctx, &session, &s)
		code := wire.CodeOf(err)
		if client.LosesSession(code) || code == wire.CodeInvalid {
			o.session.Forget(session)
			session = 0
		}
		switch code {
		case wire.CodeUnavailable, wire.CodeConnection, wire.CodeExhausted:
			doubt = doubt || wire.OutcomeOf(err) == wire.Unknown
		case wire.CodeSession:
			if doubt {
				return res, err
			}
		case wire.CodeInvalid, wire.CodeDenied: // without certificates anybody can use up the session's numbers
			if moved {
				return res, err
			}
			moved = true
			continue
		default:
			return res, err
		}
		if o.n.member.CutOff() != nil {
			return res, err // somebody else may reach the leader
		}
		select {
		case <-o.n.after(reportPause):
		case <-ctx.Done():
			return res, err
		}
	}
}

func (o *ownSession) once(ctx context.Context, session *uint64, s *wire.Submission) (wire.Submitted, error) {
	if *session == 0 {
		var err error
		if *session, s.Seq, err = o.session.Number(ctx, 1, o.open); err != nil {
			return wire.Submitted{}, err
		}
	}
	return o.n.submitAnywhere(ctx, *session, *s)
}

func (o *ownSession) open(ctx context.Context) (wire.SessionReply, error) {
	if !o.n.log.IsLeader() {
		hello := &wire.SessionRequest{Client: string(o.n.id)}
		return askLeader[wire.SessionReply](ctx, o.n, wire.OpSession, hello)
	}
	id, err := api.OpenSession(ctx, o.n.log, string(o.n.id), o.n.ownIdentity())
	return wire.SessionReply{Session: id}, err
}

// ownIdentity is who this node is to the others, and to itself when it leads.
func (n *Node) ownIdentity() state.Identity {
	if n.transport.Source() == nil {
		return ""
	}
	return transport.NodeCaller(string(n.id)).ID()
}

// submitAnywhere submits one operation of the cell's own, here or at the leader, once.
func (n *Node) submitAnywhere(ctx context.Context, session uint64, s wire.Submission) (wire.Submitted, error) {
	var results []wire.Submitted
	var err error
	if n.log.IsLeader() {
		sub := &lead.Submission{
			Submission: s, Session: state.SessionID(session), Origin: policies.OriginCell, Asker: n.ownIdentity(),
			Sharer: n.ownSharer(),
		}
		results, err = n.lead.Submit(ctx, []*lead.Submission{sub})
	} else {
		var reply wire.SubmitReply
		reply, err = askLeader[wire.SubmitReply](ctx, n, wire.OpSubmit, &wire.SubmitRequest{Session: session, Submit: []wire.Submission{s}, Cell: true})
		results = reply.Results
	}
	switch {
	case err != nil:
		return wire.Submitted{}, err
	case len(results) != 1:
		return wire.Submitted{}, wire.Errorf(wire.OpSubmit, wire.CodeProtocol, "%d results for one submission", len(results))
	}
	if err := s.Fits(&results[0]); err != nil {
		n.wrongAnswers.Add(1)
		n.logger.Warn("the answer to a submission of this node is to another one", "session", session, "number", s.Seq, "error", err)
		return wire.Submitted{}, err
	}
	switch {
	case results[0].Code != 0:
		return results[0], wire.Errorf(wire.OpSubmit, results[0].Code, "%s", results[0].Detail)
	}
	return results[0], nil
}
