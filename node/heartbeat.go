package node

import (
	"context"
	"time"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// heartbeats keeps this node in its cell: it tells the leader what goes on here, joins when the
// leader does not know this incarnation, and finds out when the node has caught up with the log.
func (n *Node) heartbeats(ctx context.Context) {
	tick := time.NewTicker(n.time.heartbeat)
	defer tick.Stop()
	for {
		if err := n.beatOnce(ctx); err != nil && ctx.Err() == nil {
			n.logger.Debug("no heartbeat", "error", err)
			if wire.CodeOf(err) == wire.CodeWrongCell {
				n.fail(err)
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (n *Node) beatOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, n.time.downAfter)
	defer cancel()
	if n.log.IsLeader() {
		return n.beatAsLeader(ctx)
	}
	if leader, _ := n.log.Leader(); leader == "" {
		return n.join(ctx) // a new node has no log yet that could name the leader
	}
	conn, err := n.toLeader(ctx)
	if err != nil {
		return err
	}
	answer, err := conn.Call(ctx, mux.Request{Op: wire.OpHeartbeat, Session: wire.SessionControl, Body: n.beat()})
	if err != nil {
		return err
	}
	var reply wire.HeartbeatReply
	if err := answer.Decode(&reply); err != nil {
		return err
	}
	if !reply.Known {
		return n.join(ctx)
	}
	return n.becomeReady(ctx, state.Index(reply.Commit))
}

func (n *Node) beat() *wire.Heartbeat {
	return &wire.Heartbeat{
		Node: n.cfg.ID, Addr: n.addr, Incarnation: n.incarnation, Applied: uint64(n.log.AppliedIndex()),
		Ready: n.ready.Load() && !n.draining.Load() && n.store.Failed() == nil, Running: n.exec.leases(), Compiled: n.policies.digests(),
	}
}

func (n *Node) beatAsLeader(ctx context.Context) error {
	n.watch.heard(n.beat())
	if !n.ready.Load() {
		if err := n.log.Barrier(ctx); err != nil {
			return err
		}
	}
	view := n.log.View()
	if node := view.Node(n.id); view.Cell != "" && (node == nil || node.Incarnation != n.incarnation || node.Addr != n.addr) {
		if _, err := n.admitNode(ctx, wire.JoinRequest{Node: n.cfg.ID, Addr: n.addr, Incarnation: n.incarnation, Cell: n.cell()}); err != nil {
			return err
		}
	}
	if view.Cell == "" {
		return nil // not founded yet
	}
	return n.becomeReady(ctx, n.log.CommitIndex())
}

// becomeReady settles the store once this node has applied all that was committed when the leader
// was asked. A node that comes back does not serve before that: what it holds may have been deleted.
func (n *Node) becomeReady(ctx context.Context, commit state.Index) error {
	if n.ready.Load() {
		return nil
	}
	if err := n.log.WaitApplied(ctx, commit); err != nil {
		return err
	}
	if err := n.settle(n.log.View()); err != nil {
		return err
	}
	n.ready.Store(true)
	close(n.readyCh)
	n.logger.Info("ready", "applied", uint64(n.log.AppliedIndex()))
	return nil
}

// join asks the cell to know this incarnation at this address.
func (n *Node) join(ctx context.Context) error {
	req := wire.JoinRequest{Node: n.cfg.ID, Addr: n.addr, Incarnation: n.incarnation, Cell: n.cell()}
	var last error
	for _, addr := range n.cellAddrs() {
		if last = n.joinAt(ctx, addr, req); last == nil || wire.CodeOf(last) == wire.CodeWrongCell {
			return last
		}
		n.logger.Debug("join refused", "at", addr, "error", last)
	}
	return last
}

func (n *Node) joinAt(ctx context.Context, addr string, req wire.JoinRequest) error {
	conn, err := n.peers.conn(ctx, "", addr)
	if err != nil {
		return err
	}
	answer, err := conn.Call(ctx, mux.Request{Op: wire.OpJoin, Session: wire.SessionControl, Body: &req})
	if err != nil {
		return err
	}
	var reply wire.JoinReply
	if err := answer.Decode(&reply); err != nil {
		return err
	}
	return n.learnCell(reply.Cell)
}

// cellAddrs is where nodes of the cell may be found: the known ones, then those named at the start.
func (n *Node) cellAddrs() []string {
	var addrs []string
	if _, addr := n.log.Leader(); addr != "" {
		addrs = append(addrs, addr)
	}
	n.log.View().Nodes(func(node *state.Node) bool {
		if node.ID != n.id {
			addrs = append(addrs, node.Addr)
		}
		return true
	})
	return append(addrs, n.cfg.Join...)
}

// serveJoin lets a node in, on the leader.
func (n *Node) serveJoin(ctx context.Context, c *mux.ServerCall) error {
	var req wire.JoinRequest
	if err := c.Decode(&req); err != nil {
		return err
	}
	reply, err := n.admitNode(ctx, req)
	if err != nil {
		return err
	}
	return c.Reply(&reply, nil)
}
