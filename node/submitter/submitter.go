// Package submitter submits the cell's own operations of a node: creates that its clients need, seals, deletes of what
// was left half. They go to the leader, which may be this node, in a session of the node's own.
//
// A Submitter has no goroutine. Its session has a lock, which is held while one is opened.
package submitter

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/lead"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/datanode/datanode/wire/mux"
)

// retryPause is how long it is waited before the leader is asked again.
const retryPause = 100 * time.Millisecond

// Options are what a Submitter needs; all must be set, Identity where nodes have certificates.
type Options struct {
	Node     state.NodeID
	Identity state.Identity // who this node is to the others, and to itself when it leads
	Sharer   string         // whose line of submissions these wait in
	IsLeader func() bool
	// Submit waits, while this node leads, for the results of submissions, one for each. The error is that nothing is
	// known of some.
	Submit func(ctx context.Context, subs []*lead.Submission) ([]wire.Submitted, error)
	// OpenSession opens a session while this node leads.
	OpenSession func(ctx context.Context, client string, owner state.Identity) (uint64, error)
	// ToLeader is a connection to the leader, which is another node.
	ToLeader func(ctx context.Context) (*mux.Conn, error)
	// CutOff says that the leader has not answered this node for long: somebody else may reach it.
	CutOff func() error
	Clock  clock.Clock
	Logger *slog.Logger
}

// Submitter submits in one session. Its methods may be called from any goroutine.
type Submitter struct {
	o       Options
	session client.Session
	wrong   atomic.Uint64
}

// New makes a submitter, which opens its session when it first needs one.
func New(o Options) *Submitter { return &Submitter{o: o} }

// WrongAnswers is how many answers to this node were to something else than it had asked.
func (s *Submitter) WrongAnswers() uint64 { return s.wrong.Load() }

// CountWrongAnswer counts one more of them, which somebody else has found.
func (s *Submitter) CountWrongAnswer() { s.wrong.Add(1) }

// Submit submits one operation until it is known what became of it, or ctx ends. It is carried out once, however often
// it has to be asked for while the leader changes.
func (s *Submitter) Submit(ctx context.Context, want wire.Submission) (wire.Submitted, error) {
	var session uint64 // that want has its number in
	var said error     // why it was not done so far
	for doubt, moved := false, false; ; {
		res, err := s.inSession(ctx, &session, &want)
		code := wire.CodeOf(err)
		if client.LosesSession(code) || code == wire.CodeInvalid {
			s.session.Forget(session)
			session = 0
		}
		switch code {
		case wire.CodeUnavailable, wire.CodeConnection, wire.CodeExhausted:
			doubt, said = doubt || wire.OutcomeOf(err) == wire.Unknown, err
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
			if said != nil && ctx.Err() != nil { // it may have ended while the leader was asked once more
				err = fmt.Errorf("%w; before that: %v", err, said)
			}
			return res, err
		}
		if s.o.CutOff() != nil {
			return res, err // somebody else may reach the leader
		}
		select {
		case <-s.o.Clock.After(retryPause):
		case <-ctx.Done():
			return res, err
		}
	}
}

func (s *Submitter) inSession(ctx context.Context, session *uint64, want *wire.Submission) (wire.Submitted, error) {
	if *session == 0 {
		var err error
		if *session, want.Seq, err = s.session.Number(ctx, 1, s.open); err != nil {
			return wire.Submitted{}, err
		}
	}
	return s.Once(ctx, *session, *want)
}

func (s *Submitter) open(ctx context.Context) (wire.SessionReply, error) {
	if !s.o.IsLeader() {
		return ask[wire.SessionReply](ctx, s, wire.OpSession, &wire.SessionRequest{Client: string(s.o.Node)})
	}
	id, err := s.o.OpenSession(ctx, string(s.o.Node), s.o.Identity)
	return wire.SessionReply{Session: id}, err
}

// ask asks the leader, which is another node.
func ask[Reply any](ctx context.Context, s *Submitter, op wire.OpType, body any) (reply Reply, err error) {
	conn, err := s.o.ToLeader(ctx)
	if err != nil {
		return reply, err
	}
	answer, err := conn.Call(ctx, mux.Request{Op: op, Session: op.SessionFor(body), Body: body})
	if err != nil {
		return reply, err
	}
	err = answer.Decode(&reply)
	return reply, err
}

// Once submits one operation, here or at the leader, and does not ask again. In session 0 it has no number: whether it
// was carried out is not known when the error does not say.
func (s *Submitter) Once(ctx context.Context, session uint64, want wire.Submission) (wire.Submitted, error) {
	results, err := s.results(ctx, session, want)
	switch {
	case err != nil:
		return wire.Submitted{}, err
	case len(results) != 1:
		return wire.Submitted{}, wire.Errorf(wire.OpSubmit, wire.CodeProtocol,
			"%d results for one submission", len(results))
	}
	if err := want.Fits(&results[0]); err != nil {
		s.wrong.Add(1)
		s.o.Logger.Warn("the answer to a submission of this node is to another one",
			"session", session, "number", want.Seq, "error", err)
		return wire.Submitted{}, err
	}
	if results[0].Code != 0 {
		return results[0], wire.Errorf(wire.OpSubmit, results[0].Code, "%s", results[0].Detail)
	}
	return results[0], nil
}

func (s *Submitter) results(ctx context.Context, session uint64, want wire.Submission) ([]wire.Submitted, error) {
	if s.o.IsLeader() {
		return s.o.Submit(ctx, []*lead.Submission{{
			Submission: want, Session: state.SessionID(session), Origin: policies.OriginCell,
			Asker: s.o.Identity, Sharer: s.o.Sharer,
		}})
	}
	reply, err := ask[wire.SubmitReply](ctx, s, wire.OpSubmit,
		&wire.SubmitRequest{Session: session, Submit: []wire.Submission{want}, Cell: true})
	return reply.Results, err
}
