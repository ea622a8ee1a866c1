package node

import (
	"context"

	"github.com/datanode/datanode/node/fair"
	"github.com/datanode/datanode/node/transport/connlimit"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire/mux"
)

// inTurn is a handler whose calls take turns at a class of work.
func (n *Node) inTurn(w fair.Work, serve handler) handler {
	return func(ctx context.Context, c *mux.ServerCall) error {
		done, err := n.turns.Take(ctx, w, n.sharer(c))
		if err != nil {
			return err
		}
		defer done()
		return serve(ctx, c)
	}
}

// sharer is who shares with others what a call takes: who it is made for; in plaintext the node of the cell that makes
// it, and else the machine that it comes from.
func (n *Node) sharer(c *mux.ServerCall) string {
	if who := c.Asker(); who != "" {
		return who
	}
	if node := c.Peer().Node; node != "" && n.log.View().Node(state.NodeID(node)) != nil {
		return nodeSharer(node)
	}
	return connlimit.Machine(c.Remote())
}

// nodeSharer is whose share it is that a node takes for itself.
func nodeSharer(node string) string { return "node/" + node }
