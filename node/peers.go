package node

import (
	"context"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// toNode is a connection to a node of the cell.
func (n *Node) toNode(ctx context.Context, id state.NodeID) (*mux.Conn, error) {
	node := n.log.View().Node(id)
	if node == nil {
		return nil, wire.Errorf(0, wire.CodeNotFound, "there is no node %s", id)
	}
	return n.transport.Conn(ctx, string(id), node.Addr)
}

// reached waits until another node has applied the log up to an index, and says why it has not.
func (n *Node) reached(ctx context.Context, id state.NodeID, index state.Index) error {
	conn, err := n.toNode(ctx, id)
	if err != nil {
		return err
	}
	_, err = conn.Call(ctx, mux.Request{Op: wire.OpReach, Session: wire.SessionControl, MinIndex: uint64(index)})
	return err
}
