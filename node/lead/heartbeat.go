package lead

import (
	"context"
	"fmt"

	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// ServeHeartbeat answers a node's heartbeat, on the leader.
func (l *Leader) ServeHeartbeat(ctx context.Context, c *mux.ServerCall, beat wire.Heartbeat) error {
	if !l.log.IsLeader() {
		return wire.Errorf(c.Op(), wire.CodeUnavailable, "%s is not the leader", l.id)
	}
	if err := ownBeat(c, &beat); err != nil {
		return err
	}
	if err := l.confirm(ctx); err != nil {
		return err
	}
	if err := l.compareBeat(&beat); err != nil {
		return err
	}
	l.watch.heard(&beat)
	node := l.log.View().Node(state.NodeID(beat.Node))
	known := node != nil && node.Incarnation == beat.Incarnation && node.Addr == beat.Addr &&
		uint8(node.Level) == beat.Level
	reply := wire.HeartbeatReply{
		Leader: string(l.id), Commit: uint64(l.log.CommitIndex()), Known: known, Parted: l.o.Divergences.Among(l.log.View()),
		Serving: l.watch.serving(), Unsealed: l.unsealedFor(state.NodeID(beat.Node)),
	}
	if ours, ok := l.log.PointAt(state.Index(beat.Applied)); ok {
		reply.Chain = ours.Hash[:]
	}
	return c.Reply(&reply, nil)
}

// compareBeat compares the history of a node that has sent a heartbeat with this node's, which leads. A node with
// another history is called down, and the answer says why; nothing of it is touched.
func (l *Leader) compareBeat(beat *wire.Heartbeat) error {
	theirs, ok := ChainOf(beat.Applied, beat.Chain)
	if !ok {
		return nil
	}
	differ := l.log.Compare(theirs, "node "+beat.Node+" at "+beat.Addr)
	if differ == nil && beat.Parted { // by entries that this node does not have
		differ = &raftlog.PartedError{Index: theirs.Index, Ours: l.log.Chain(), Theirs: theirs, With: "node " + beat.Node}
	}
	if differ == nil {
		l.o.Divergences.Agrees(beat.Node)
		return nil
	}
	if l.o.Divergences.Note(wire.Parted{
		Node: beat.Node, Index: beat.Applied,
		Ours: fmt.Sprintf("%x", differ.Ours.Hash), Theirs: fmt.Sprintf("%x", beat.Chain),
	}) {
		l.logger.Error("a node's history of the cell is not the leader's", "parted", beat.Node, "error", differ)
	}
	silent := *beat
	silent.Ready = false
	l.watch.heard(&silent)
	return wire.Errorf(wire.OpHeartbeat, wire.CodeParted, "%s", differ.Error())
}
