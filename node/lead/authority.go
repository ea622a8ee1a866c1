package lead

import (
	"context"
	"fmt"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// A node speaks for itself only: a heartbeat, a join and a report name the node that sends them, which is the one of
// its certificate, or, in plaintext, of its hello. What it may say of others is what it has seen of them: that a
// replica cannot be read, or that it reads as the log has it.

// ownBeat refuses a heartbeat of another node than the caller: it would make the cell take one that is lost for one
// that is up, or one that is up for one that has no room.
func ownBeat(c *mux.ServerCall, beat *wire.Heartbeat) error {
	if beat.Node == c.Peer().Node {
		return nil
	}
	return wire.Errorf(c.Op(), wire.CodeDenied, "%s sends a heartbeat of %q; a node speaks for itself only",
		c.Peer().Node, beat.Node)
}

// mayJoin refuses a join of another node than the caller, on the leader: it would send the others to an address that
// is not that node's.
//
// Nodes of builds before LevelNamed join at any node, which passes it on. That is taken while the log has no command of
// that level, which is as long as such a node can join at all; and in plaintext, where nobody can tell who is who.
func (l *Leader) mayJoin(c *mux.ServerCall, req *wire.JoinRequest) error {
	from := c.Peer().Node
	if req.Node == from {
		return nil
	}
	view := l.log.View()
	relayer := view.Node(state.NodeID(from))
	whose := c.OnBehalf() == string(l.o.Identity(state.NodeID(req.Node)))
	switch {
	case relayer == nil:
	case !l.o.Secure:
		return nil
	case view.Level >= state.LevelNamed:
	case whose, c.OnBehalf() == "" && relayer.Level < state.LevelNamed:
		return nil
	}
	return wire.Errorf(c.Op(), wire.CodeDenied,
		"%s asks to let %q in; a node speaks for itself only: it joins at the leader, %s at %s", from, req.Node, l.id, l.addr)
}

// MayPropose refuses what the caller may not report, on the leader. Only commands that report are taken: what decides
// must come through admission.
func (l *Leader) MayPropose(ctx context.Context, c *mux.ServerCall, cmds []state.Command) error {
	if err := l.confirm(ctx); err != nil {
		return err
	}
	if l.log.View().Node(state.NodeID(c.Peer().Node)) == nil {
		return wire.Errorf(c.Op(), wire.CodeDenied, "the cell has no node %q, whose reports it could take", c.Peer().Node)
	}
	for _, cmd := range cmds {
		if f, ok := cmd.(*state.Finish); ok {
			if err := l.reachStart(ctx, f); err != nil {
				return err
			}
		}
		if why := notOwn(l.log.View(), state.NodeID(c.Peer().Node), cmd); why != "" {
			return wire.Errorf(c.Op(), wire.CodeDenied, "%s %s; a node speaks for itself only", c.Peer().Node, why)
		}
	}
	return nil
}

// reachStart waits until this node, which leads, has applied the start that a finish is about: who carries the
// operation out is named in that. Its executor may have been faster.
func (l *Leader) reachStart(ctx context.Context, f *state.Finish) error {
	if start := state.Index(f.Fence); start <= l.log.CommitIndex() { // no operation runs under a fence that is yet to come
		return l.o.CatchUpTo(ctx, start)
	}
	return wire.Errorf(wire.OpPropose, wire.CodeDenied, "operation %s has not been started under fence %d", f.Op, f.Fence)
}

// notOwn says why a command is not one that a node may propose, "" when it may. view is one in which the starts are
// applied that finishes are about: an operation that does not run in it under such a fence never will again, and the
// state refuses the finish.
func notOwn(view *state.View, node state.NodeID, cmd state.Command) string {
	switch cmd := cmd.(type) {
	case *state.Gone:
		if cmd.Node != node {
			return fmt.Sprintf("reports what is gone from %q", cmd.Node)
		}
	case *state.Finish:
		if o := view.Op(cmd.Op); view.Runs(state.Attempt{Op: cmd.Op, Fence: cmd.Fence}) && o.Executor != node {
			return fmt.Sprintf("ends operation %s, which %q carries out", cmd.Op, o.Executor)
		}
	case *state.Suspect: // whoever reads finds what cannot be read; the last whole replica is its own node's to give up
		if cmd.Node != node && cmd.Always {
			return fmt.Sprintf("gives up the last whole replica of extent %d, that of %q", cmd.Extent, cmd.Node)
		}
	case *state.Proven: // whoever has compared a replica finds it sound; what only its own node knows, that says itself
		e := view.Extent(cmd.Extent)
		if cmd.Node != node && (cmd.Floor != 0 || e != nil && cmd.Length != e.Length) {
			return fmt.Sprintf("says that %q has %d bytes of extent %d, %d of them acknowledged, other than the log has it",
				cmd.Node, cmd.Length, cmd.Extent, cmd.Floor)
		}
	default:
		return "proposes a " + cmd.CommandType().String() + ", which no node does"
	}
	return ""
}
