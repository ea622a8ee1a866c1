package lead

import (
	"context"
	"strings"
	"time"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// namedWhenRefused is how many extents are named that a stop would make unreadable or unwritable.
const namedWhenRefused = 20

// ServePause plans a stop of a node, or ends that. One is planned at a time: each is checked against those before.
func (l *Leader) ServePause(ctx context.Context, c *mux.ServerCall, req wire.PauseRequest) error {
	select {
	case l.pausing <- struct{}{}:
		defer func() { <-l.pausing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := l.confirm(ctx); err != nil {
		return err
	}
	view := l.log.View()
	node := view.Node(state.NodeID(req.Node))
	if node == nil {
		return wire.Errorf(wire.OpPause, wire.CodeNotFound, "there is no node %q; see node ls", req.Node)
	}
	cmd := &state.Pause{Node: node.ID, AskedBy: asker(view, c)}
	reply := wire.PauseReply{Node: req.Node, Until: int64(node.Pause.Until)}
	if !req.Resume {
		var err error
		if reply.Stop, err = l.checkPause(ctx, req); err != nil {
			return err
		}
		cmd.For, cmd.Forced = state.Micros(req.ForMicros), !reply.Stop.Safe
	} else if !node.IsPaused() {
		return wire.Errorf(wire.OpPause, wire.CodePrecondition, "%s is not paused", node.ID)
	}
	if req.DryRun {
		return c.Reply(&reply, nil)
	}
	if err := l.propose(ctx, cmd); err != nil {
		return err
	}
	reply.Until = 0
	if n := l.log.View().Node(node.ID); n != nil {
		reply.Until = int64(n.Pause.Until)
	}
	return c.Reply(&reply, nil)
}

// checkPause says what the cell is while the node is stopped. Its error is that it must not be, without force.
func (l *Leader) checkPause(ctx context.Context, req wire.PauseRequest) (wire.StopReply, error) {
	if most := int64(state.MaxPause); req.ForMicros <= 0 || req.ForMicros > most {
		return wire.StopReply{}, wire.Errorf(wire.OpPause, wire.CodeInvalid,
			"a pause lasts up to %s, and ends by itself; want for how long, not %s",
			state.MaxPause.Duration(), state.Micros(req.ForMicros).Duration())
	}
	stop, err := l.Stopping(ctx, wire.StopRequest{Nodes: []string{req.Node}, Limit: namedWhenRefused})
	if err != nil || stop.Safe || req.Force {
		return stop, err
	}
	return stop, wire.Errorf(wire.OpPause, wire.CodePrecondition,
		"%s cannot be stopped now: %s; wait until that is mended, or go on with --force, which is recorded",
		req.Node, strings.Join(stop.Why, "; "))
}

// pauses are the commands that end the pauses whose time is over.
func (w *watch) pauses(view *state.View) []state.Command {
	now := w.log.Now()
	var cmds []state.Command
	view.Nodes(func(node *state.Node) bool {
		if node.IsPaused() && now >= node.Pause.Until {
			w.logger.Info("pause is over", "node", string(node.ID), "state", node.State.String())
			cmds = append(cmds, &state.Pause{Node: node.ID, Until: node.Pause.Until})
		}
		return true
	})
	return cmds
}

// yieldLead gives the lead to another voter while this node is paused: whoever stops it next is not to be noticed. It
// stays where there is none, and tries again later where none takes it.
func (p *planner) yieldLead(ctx context.Context, view *state.View) {
	if self := view.Node(p.id); self == nil || !self.IsPaused() {
		p.yielded = time.Time{}
		return
	}
	if !p.yielded.IsZero() && p.clock.Now().Sub(p.yielded) < p.times.DownAfter {
		return
	}
	fit := func(id state.NodeID) bool {
		n := view.Node(id)
		return n != nil && n.Voter && n.State == state.NodeUp && !n.IsPaused() && !p.members.watch.silent(id)
	}
	some := false
	view.Nodes(func(n *state.Node) bool { some = n.ID != p.id && fit(n.ID); return !some })
	if !some {
		return
	}
	p.yielded = p.clock.Now()
	ctx, cancel := context.WithTimeout(ctx, p.times.StepLimit)
	defer cancel()
	if err := p.log.TransferLeadershipTo(ctx, fit); err != nil {
		p.logger.Warn("lead not given away yet, although this node is paused", "error", err)
	}
}
