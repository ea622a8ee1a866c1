package node

import (
	"context"
	"time"

	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// minVoters is how many votes a cell wants before further nodes only follow.
const minVoters = 3

// admitNode makes a node known and adds it to the log's group, on the leader.
func (n *Node) admitNode(ctx context.Context, req wire.JoinRequest) (wire.JoinReply, error) {
	view := n.log.View()
	switch {
	case view.Cell == "":
		return wire.JoinReply{}, wire.Errorf(wire.OpJoin, wire.CodeUnavailable, "the cell is not founded yet")
	case req.Cell != "" && req.Cell != view.Cell:
		return wire.JoinReply{}, wire.Errorf(wire.OpJoin, wire.CodeWrongCell, "the folder of %s belongs to cell %s, this is cell %s; give the node an empty --dir", req.Node, req.Cell, view.Cell)
	}
	if err := n.checkTwin(view, req); err != nil {
		return wire.JoinReply{}, err
	}
	voter, err := n.addToGroup(ctx, req)
	if err != nil {
		return wire.JoinReply{}, err
	}
	results, _, err := n.log.Propose(ctx, &state.Join{
		Node: state.NodeID(req.Node), Addr: req.Addr, Incarnation: req.Incarnation, Voter: voter,
	})
	if err != nil {
		return wire.JoinReply{}, err
	}
	if results[0].Err != nil {
		return wire.JoinReply{}, results[0].Err
	}
	return wire.JoinReply{Cell: view.Cell}, nil
}

// checkTwin refuses a second node with the ID of one that is alive, and a new folder for a node that
// has replicas: its files would be thought to be there.
func (n *Node) checkTwin(view *state.View, req wire.JoinRequest) error {
	node := view.Node(state.NodeID(req.Node))
	if node == nil || node.Incarnation == 0 || node.Incarnation == req.Incarnation {
		return nil
	}
	if node.Addr != req.Addr && n.watch.alive(node.ID) {
		return wire.Errorf(wire.OpJoin, wire.CodeWrongCell, "node %s is already in the cell, at %s; give this one another --id", req.Node, node.Addr)
	}
	return nil
}

// alive tells whether a heartbeat of the node has come lately.
func (w *watch) alive(id state.NodeID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.seen[id]
	return s != nil && time.Since(s.at) < w.n.time.downAfter
}

// addToGroup adds the node to the log's group, or gives it its new address there. It tells whether
// the node has a vote.
func (n *Node) addToGroup(ctx context.Context, req wire.JoinRequest) (voter bool, err error) {
	servers, err := n.log.Servers()
	if err != nil {
		return false, err
	}
	voters := 0
	var member *raftlog.ServerInfo
	for i, s := range servers {
		if s.Voter {
			voters++
		}
		if s.ID == state.NodeID(req.Node) {
			member = &servers[i]
		}
	}
	switch {
	case member != nil && member.Addr == req.Addr:
		return member.Voter, nil
	case member != nil && member.Voter, member == nil && voters < minVoters:
		return true, n.log.AddVoter(ctx, state.NodeID(req.Node), req.Addr)
	}
	return false, n.log.AddNonvoter(ctx, state.NodeID(req.Node), req.Addr)
}
