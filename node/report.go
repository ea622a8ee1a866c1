package node

import (
	"context"
	"time"

	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

const (
	maxReports     = 4096 // waiting to be sent; more wait to be queued
	reportsAtOnce  = 256  // in one call to the leader
	reportPause    = 100 * time.Millisecond
	reportAttempts = 50 // of one batch, before its senders are told that it failed
)

// reporter brings what this node has to say (a finish, a file that is gone, a damaged replica) to
// the leader, wherever that is. What is said may be said again: all these commands change nothing
// the second time.
type reporter struct {
	n     *Node
	queue chan reported
}

type reported struct {
	cmd  state.Command
	done chan proposed // buffered, one
}

// proposed is what became of a command.
type proposed struct {
	res   wire.ProposeResult
	index state.Index // of the entry that carries it
	err   error
}

func newReporter(n *Node) *reporter { return &reporter{n: n, queue: make(chan reported, maxReports)} }

// propose hands a command to the leader and waits for what it came to.
func (r *reporter) propose(ctx context.Context, cmd state.Command) (wire.ProposeResult, error) {
	p := r.proposeAt(ctx, cmd)
	return p.res, p.err
}

// proposeAt is propose that tells of the entry too.
func (r *reporter) proposeAt(ctx context.Context, cmd state.Command) proposed {
	w := reported{cmd: cmd, done: make(chan proposed, 1)}
	select {
	case r.queue <- w:
	case <-ctx.Done():
		return proposed{err: ctx.Err()}
	}
	select {
	case p := <-w.done:
		return p
	case <-ctx.Done():
		return proposed{err: ctx.Err()}
	}
}

// note hands a command to the leader without waiting. When too many wait already it is lost: only
// for what will be seen again.
func (r *reporter) note(cmd state.Command) {
	select {
	case r.queue <- reported{cmd: cmd, done: make(chan proposed, 1)}:
	default:
	}
}

// run sends what has gathered while the last batch was under way.
func (r *reporter) run(ctx context.Context) {
	for {
		var batch []reported
		select {
		case w := <-r.queue:
			batch = append(batch, w)
		case <-ctx.Done():
			return
		}
		for len(batch) < reportsAtOnce && len(r.queue) > 0 {
			batch = append(batch, <-r.queue)
		}
		r.send(ctx, batch)
	}
}

func (r *reporter) send(ctx context.Context, batch []reported) {
	cmds := make([]state.Command, len(batch))
	for i, w := range batch {
		cmds[i] = w.cmd
	}
	var reply wire.ProposeReply
	var err error
	for range reportAttempts {
		if reply, err = r.n.proposeAnywhere(ctx, cmds); err == nil || ctx.Err() != nil || wire.CodeOf(err) == wire.CodeDenied {
			break
		}
		select {
		case <-r.n.after(reportPause):
		case <-ctx.Done():
		}
	}
	if wire.CodeOf(err) == wire.CodeDenied && len(batch) > 1 { // the others must not suffer for one
		for _, w := range batch {
			r.send(ctx, []reported{w})
		}
		return
	}
	for i, w := range batch {
		if err != nil {
			w.done <- proposed{err: err}
			continue
		}
		w.done <- proposed{res: reply.Results[i], index: state.Index(reply.Index)}
	}
}

// proposeAnywhere proposes here, if this node leads, or at the leader.
func (n *Node) proposeAnywhere(ctx context.Context, cmds []state.Command) (wire.ProposeReply, error) {
	ctx, cancel := context.WithTimeout(ctx, n.time.stepLimit)
	defer cancel()
	if n.log.IsLeader() {
		return n.proposeHere(ctx, cmds)
	}
	body, err := raftlog.AppendCommands(nil, cmds)
	if err != nil {
		return wire.ProposeReply{}, err
	}
	conn, err := n.toLeader(ctx)
	if err != nil {
		return wire.ProposeReply{}, err
	}
	reply, err := askIn[wire.ProposeReply](ctx, conn, proposalSession(cmds), wire.OpPropose, &wire.ProposeRequest{Commands: body})
	if err != nil {
		return wire.ProposeReply{}, err
	}
	if len(reply.Results) != len(cmds) {
		return wire.ProposeReply{}, wire.Errorf(wire.OpPropose, wire.CodeProtocol, "%d results for %d commands", len(reply.Results), len(cmds))
	}
	return reply, nil
}

func (n *Node) proposeHere(ctx context.Context, cmds []state.Command) (wire.ProposeReply, error) {
	results, index, err := n.log.Propose(ctx, cmds...)
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

// servePropose takes the reports of other nodes.
func (n *Node) servePropose(ctx context.Context, c *mux.ServerCall, req wire.ProposeRequest) error {
	cmds, err := raftlog.ParseCommands(req.Commands)
	if err != nil {
		return err
	}
	if err := n.mayPropose(ctx, c, cmds); err != nil {
		return err
	}
	if err := n.checkDeletes(c, onlyGone(cmds)); err != nil {
		return err
	}
	reply, err := n.proposeHere(ctx, cmds)
	if err != nil {
		return err
	}
	return c.Reply(&reply, nil)
}
