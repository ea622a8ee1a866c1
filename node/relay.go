package node

import (
	"context"
	"time"

	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// catchUpWait bounds how long a call waits for what its caller has seen already.
const catchUpWait = 10 * time.Second

// relay passes calls on to the nodes that can serve them, and waits for this node to be as far as a caller has seen.
type relay struct {
	id       state.NodeID
	log      *raftlog.Group
	toLeader func(ctx context.Context) (*mux.Conn, error)
	toNode   func(ctx context.Context, id state.NodeID) (*mux.Conn, error)
}

// reach waits until this node has applied what the caller has seen already: a client finds what it
// has just submitted, whichever node it asks.
func (r *relay) reach(ctx context.Context, index state.Index) error {
	if index <= r.log.AppliedIndex() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, catchUpWait)
	defer cancel()
	return r.log.WaitApplied(ctx, index)
}

// passToLeader passes a client's call on. One that a node has passed on already is not passed on
// again: two nodes that disagree about the leader would send it round.
func (r *relay) passToLeader(ctx context.Context, c *mux.ServerCall) error {
	if c.Peer().Node != "" && !fromJoiner(c) {
		return wire.Errorf(c.Op(), wire.CodeUnavailable, "%s is not the leader", r.id)
	}
	conn, err := r.toLeader(ctx)
	if err != nil {
		return err
	}
	return mux.Relay(ctx, c, conn)
}

// fromJoiner reports whether a call is a join by the node itself, which does not know who leads.
func fromJoiner(c *mux.ServerCall) bool {
	var req wire.JoinRequest
	return c.Op() == wire.OpJoin && c.Decode(&req) == nil && req.Node == c.Peer().Node
}

// pass passes a client's call on to a node.
func (r *relay) pass(ctx context.Context, c *mux.ServerCall, id state.NodeID) error {
	if c.Peer().Node != "" {
		return wire.Errorf(c.Op(), wire.CodeUnavailable, "%s is not %s", r.id, id)
	}
	conn, err := r.toNode(ctx, id)
	if err != nil {
		return err
	}
	return mux.Relay(ctx, c, conn)
}
