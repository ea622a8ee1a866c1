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

// ask makes a call on conn, and decodes what comes back.
func ask[Reply any](ctx context.Context, conn *mux.Conn, op wire.OpType, body any) (reply Reply, err error) {
	return askIn[Reply](ctx, conn, op.SessionFor(body), op, body)
}

func askIn[Reply any](ctx context.Context, conn *mux.Conn, session wire.Session, op wire.OpType, body any) (reply Reply, err error) {
	answer, err := conn.Call(ctx, mux.Request{Op: op, Session: session, Body: body})
	if err != nil {
		return reply, err
	}
	err = answer.Decode(&reply)
	return reply, err
}

// askLeader asks the node that leads, another than this.
func askLeader[Reply any](ctx context.Context, n *Node, op wire.OpType, body any) (reply Reply, err error) {
	conn, err := n.member.ToLeader(ctx)
	if err != nil {
		return reply, err
	}
	return ask[Reply](ctx, conn, op, body)
}
