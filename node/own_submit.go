package node

import (
	"context"
	"sync"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// ownSession is this node's own session in the cell. What is submitted in it is carried out once, however often
// it has to be asked for while the leader changes.
type ownSession struct {
	n *Node

	mu   sync.Mutex
	id   uint64 // guarded by mu; 0: not open
	last uint64 // guarded by mu; number of the newest submission
}

// submit submits one operation of the cell's own, until it is known what became of it, or ctx ends.
func (o *ownSession) submit(ctx context.Context, s wire.Submission) (wire.Submitted, error) {
	for doubt := false; ; {
		res, err := o.once(ctx, &s)
		switch wire.CodeOf(err) {
		case wire.CodeUnavailable, wire.CodeConnection, wire.CodeExhausted:
			doubt = doubt || wire.OutcomeOf(err) == wire.Unknown
		case wire.CodeSession: // forgotten, after a day without use
			if o.forget(&s); doubt {
				return res, err
			}
		default:
			return res, err
		}
		if o.n.cutOff() != nil {
			return res, err // somebody else may reach the leader
		}
		select {
		case <-o.n.after(reportPause):
		case <-ctx.Done():
			return res, err
		}
	}
}

func (o *ownSession) once(ctx context.Context, s *wire.Submission) (wire.Submitted, error) {
	session, err := o.number(ctx, s)
	if err != nil {
		return wire.Submitted{}, err
	}
	return o.n.submitAnywhere(ctx, session, *s)
}

// number opens the session if need be, and gives a submission the next number in it, unless it has one.
func (o *ownSession) number(ctx context.Context, s *wire.Submission) (session uint64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.id == 0 {
		if o.id, err = o.open(ctx); err != nil {
			return 0, err
		}
	}
	if s.Seq == 0 {
		o.last++
		s.Seq = o.last
	}
	return o.id, nil
}

func (o *ownSession) open(ctx context.Context) (uint64, error) {
	if !o.n.log.IsLeader() {
		reply, err := askLeader[wire.SessionReply](ctx, o.n, wire.OpSession, &wire.SessionRequest{Client: string(o.n.id)})
		return reply.Session, err
	}
	return o.n.openSession(ctx, string(o.n.id), o.n.ownIdentity())
}

// forget lets the next submission open a session, and s get a number in it.
func (o *ownSession) forget(s *wire.Submission) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.id, o.last, s.Seq = 0, 0, 0
}

// ownIdentity is who this node is to the others, and to itself when it leads.
func (n *Node) ownIdentity() state.Identity {
	if _, lowest := n.log.View().Lowest(); n.secure == nil || lowest < state.LevelNamed {
		return ""
	}
	return caller{secure: true, Identity: pki.Identity{Role: pki.RoleNode, Name: string(n.id)}}.identity()
}

// submitAnywhere submits one operation of the cell's own, here or at the leader, once.
func (n *Node) submitAnywhere(ctx context.Context, session uint64, s wire.Submission) (wire.Submitted, error) {
	var results []wire.Submitted
	var err error
	if n.log.IsLeader() {
		sub := &submission{Submission: s, session: state.SessionID(session), origin: policies.OriginCell, asker: n.ownIdentity()}
		results, err = n.admit.submit(ctx, []*submission{sub})
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
	case results[0].Code != 0:
		return results[0], wire.Errorf(wire.OpSubmit, results[0].Code, "%s", results[0].Detail)
	}
	return results[0], nil
}
