package node

import (
	"bytes"
	"context"
	"errors"

	"github.com/datanode/datanode/node/lead"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// compareReply compares the leader's history with this node's. Where they differ, or the leader says so, this node
// stops: it can neither follow nor be led.
func (n *Node) compareReply(beat *wire.Heartbeat, reply wire.HeartbeatReply, err error) error {
	if wire.CodeOf(err) == wire.CodeParted {
		return &refusedError{err}
	}
	if err != nil {
		return err
	}
	n.divergences.Learn(reply.Parted)
	theirs, ok := lead.ChainOf(beat.Applied, reply.Chain)
	if !ok || bytes.Equal(reply.Chain, beat.Chain) {
		return nil
	}
	ours, _ := lead.ChainOf(beat.Applied, beat.Chain)
	return &refusedError{&raftlog.PartedError{
		Index: theirs.Index, Ours: ours, Theirs: theirs, With: "the leader " + reply.Leader,
	}}
}

// reportDivergence reports to the leader that this node stops because of another history, so that the cell can say
// why it is down.
func (n *Node) reportDivergence(ctx context.Context, why error) {
	apart := (*raftlog.PartedError)(nil)
	if !errors.As(why, &apart) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, n.time.heartbeat)
	defer cancel()
	beat := n.beat()
	beat.Ready, beat.Parted = false, true
	if ours := apart.Ours; ours.Index > state.Index(beat.Applied) { // it has not applied again what it once had
		beat.Applied, beat.Chain = uint64(ours.Index), ours.Hash[:]
	}
	_, err := askLeader[wire.HeartbeatReply](ctx, n, wire.OpHeartbeat, beat)
	if err != nil && wire.CodeOf(err) != wire.CodeParted {
		n.logger.Info("the leader could not be told that histories have parted", "error", err)
	}
}

// refuseDiverged refuses a raft stream of a node with another history: it must neither lead this node nor ask for its
// vote.
func (n *Node) refuseDiverged(node string) error {
	if one, ok := n.divergences.Has(node); ok {
		return wire.Errorf(0, wire.CodeParted,
			"raft stream of node %s, whose history of the cell has parted by entry %d", node, one.Index)
	}
	return nil
}
