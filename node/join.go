package node

import (
	"context"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// bootstrapIndex is the one entry that the log of a new cell's voter begins with: who the voters are.
const bootstrapIndex = 1

// admitNode makes a node known and adds it to the log's group, on the leader.
func (n *Node) admitNode(ctx context.Context, req wire.JoinRequest) (wire.JoinReply, error) {
	select { // one at a time: each looks at how many votes there are
	case n.joining <- struct{}{}:
		defer func() { <-n.joining }()
	case <-ctx.Done():
		return wire.JoinReply{}, ctx.Err()
	}
	if err := n.confirmLead(ctx); err != nil {
		return wire.JoinReply{}, err
	}
	view := n.log.View()
	switch {
	case view.Cell == "":
		return wire.JoinReply{}, wire.Errorf(wire.OpJoin, wire.CodeUnavailable, "the cell is not founded yet")
	case req.Cell != "" && req.Cell != view.Cell:
		return wire.JoinReply{}, wire.Errorf(wire.OpJoin, wire.CodeWrongCell, "the folder of %s belongs to cell %s, this is cell %s; give the node an empty --dir", req.Node, req.Cell, view.Cell)
	}
	if err := view.Welcomes(state.NodeID(req.Node), state.Level(req.Level)); err != nil {
		return wire.JoinReply{}, err
	}
	if err := checkRemoved(view, req); err != nil {
		return wire.JoinReply{}, err
	}
	if err := n.checkTwin(ctx, view, req); err != nil {
		return wire.JoinReply{}, err
	}
	if err := n.freeAddress(ctx, view, req); err != nil {
		return wire.JoinReply{}, err
	}
	voter, err := n.addToGroup(ctx, req)
	if err != nil {
		return wire.JoinReply{}, err
	}
	results, _, err := n.log.Propose(ctx, n.joinCommand(view, req, voter))
	if err != nil {
		return wire.JoinReply{}, err
	}
	if results[0].Err != nil {
		return wire.JoinReply{}, results[0].Err
	}
	return n.joinReply(view.Cell)
}

func (n *Node) joinReply(cell string) (wire.JoinReply, error) {
	servers, err := n.log.Servers()
	if err != nil {
		return wire.JoinReply{}, err
	}
	reply := wire.JoinReply{Cell: cell}
	for _, s := range servers {
		reply.Members = append(reply.Members, string(s.ID))
	}
	return reply, nil
}

// checkTwin refuses a second node with the ID of one that is alive, and an empty folder for a node
// that has replicas or a vote: its files would be thought to be there, and it could vote for a leader
// that lacks what the lost log had acknowledged. A node that was once up has its cell in its folder.
func (n *Node) checkTwin(ctx context.Context, view *state.View, req wire.JoinRequest) error {
	if state.NodeID(req.Node) == n.id && req.Incarnation != n.incarnation {
		return twinError(req.Node, n.addr, req.Addr)
	}
	node := view.Node(state.NodeID(req.Node))
	if node == nil || node.Incarnation == 0 || node.Incarnation == req.Incarnation {
		return nil
	}
	if held := view.CountReplicas(node.ID); req.Cell == "" && (held > 0 || node.Voter && node.State != state.NodeJoining) {
		return wire.Errorf(wire.OpJoin, wire.CodeWrongCell,
			"the folder of %s is empty, but the cell counts on its %d replicas, vote %t; start it with its old --dir, or, if that is lost, start it under another --id and then decommission %s",
			req.Node, held, node.Voter, req.Node)
	}
	return n.checkCopy(ctx, node, req)
}

// alive tells whether a heartbeat of the node has come lately.
func (w *watch) alive(id state.NodeID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.seen[id]
	return s != nil && w.n.now().Sub(s.at) < w.n.time.downAfter
}

// addToGroup adds the node to the log's group, or gives it its new address there. It tells whether
// the node has a vote. A new node has none yet, also where votes are wanting: it takes no part in the
// log before it knows that it was let in, and a vote that nobody casts could not even be agreed on.
// The planner gives it one once it is up.
func (n *Node) addToGroup(ctx context.Context, req wire.JoinRequest) (voter bool, err error) {
	servers, err := n.log.Servers()
	if err != nil {
		return false, err
	}
	for _, s := range servers {
		switch {
		case s.ID != state.NodeID(req.Node):
		case s.Addr == req.Addr:
			return s.Voter, nil
		case s.Voter:
			return true, n.log.AddVoter(ctx, s.ID, req.Addr)
		}
	}
	return false, n.log.AddNonvoter(ctx, state.NodeID(req.Node), req.Addr)
}
