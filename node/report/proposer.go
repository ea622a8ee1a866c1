package report

import (
	"context"
	"slices"
	"time"

	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// Options is what a Proposer needs of its node.
type Options struct {
	Log *raftlog.Group
	// ToLeader is a connection to the leader, which is another node.
	ToLeader func(context.Context) (*mux.Conn, error)
	// Limit is how long one proposal may take.
	Limit time.Duration
	// Check refuses what a caller may not report, on the leader.
	Check func(context.Context, *mux.ServerCall, []state.Command) error
}

// Proposer puts what nodes report into the log. Its methods may be called from any goroutine.
type Proposer struct{ opt Options }

// NewProposer makes a Proposer.
func NewProposer(o Options) *Proposer { return &Proposer{o} }

// Propose proposes here, if this node leads, or at the leader. The answer has a result for each command.
func (p *Proposer) Propose(ctx context.Context, cmds []state.Command) (reply wire.ProposeReply, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.opt.Limit)
	defer cancel()
	if p.opt.Log.IsLeader() {
		return p.here(ctx, cmds)
	}
	body, err := raftlog.AppendCommands(nil, cmds)
	if err != nil {
		return reply, err
	}
	conn, err := p.opt.ToLeader(ctx)
	if err != nil {
		return reply, err
	}
	answer, err := conn.Call(ctx, mux.Request{
		Op: wire.OpPropose, Session: sessionFor(cmds), Body: &wire.ProposeRequest{Commands: body},
	})
	if err != nil {
		return reply, err
	}
	if err := answer.Decode(&reply); err != nil {
		return wire.ProposeReply{}, err
	}
	if len(reply.Results) != len(cmds) {
		return wire.ProposeReply{}, wire.Errorf(wire.OpPropose, wire.CodeProtocol,
			"%d results for %d commands", len(reply.Results), len(cmds))
	}
	return reply, nil
}

// here proposes on the leader.
func (p *Proposer) here(ctx context.Context, cmds []state.Command) (wire.ProposeReply, error) {
	results, index, err := p.opt.Log.Propose(ctx, cmds...)
	if err != nil {
		return wire.ProposeReply{}, err
	}
	reply := wire.ProposeReply{Index: uint64(index), Results: make([]wire.ProposeResult, len(results))}
	for i, res := range results {
		reply.Results[i].Stale = res.Stale
		if res.Err != nil {
			reply.Results[i].Code, reply.Results[i].Detail = res.Err.Code, res.Err.Detail
		}
	}
	return reply, nil
}

// Serve takes the reports of other nodes, on the leader.
func (p *Proposer) Serve(ctx context.Context, c *mux.ServerCall, req wire.ProposeRequest) error {
	cmds, err := raftlog.ParseCommands(req.Commands)
	if err != nil {
		return err
	}
	if err := p.opt.Check(ctx, c, cmds); err != nil {
		return err
	}
	reply, err := p.here(ctx, cmds)
	if err != nil {
		return err
	}
	return c.Reply(&reply, nil)
}

// OnlyGone reports whether a proposal only confirms that files are gone: then it may come in the session of deletes.
func OnlyGone(cmds []state.Command) bool {
	other := func(cmd state.Command) bool { return cmd.CommandType() != state.TypeGone }
	return len(cmds) > 0 && !slices.ContainsFunc(cmds, other)
}

// sessionFor is the session to send a proposal in.
func sessionFor(cmds []state.Command) wire.Session {
	if OnlyGone(cmds) {
		return wire.SessionDelete
	}
	return wire.SessionControl
}
