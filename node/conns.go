package node

import (
	"context"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// serveConns answers all who ask at once with one scan of the table: it looks at every call in flight, theirs too.
func (n *Node) serveConns(_ context.Context, c *mux.ServerCall) error {
	reply, err, _ := n.stocktaking.Do("", func() (any, error) {
		reply := wire.ConnsReply{Node: string(n.id)}
		for _, conn := range n.transport.Table().Scan() {
			reply.Conns = append(reply.Conns, conn.Describe())
		}
		return &reply, nil
	})
	if err != nil {
		return err
	}
	return c.Reply(reply, nil)
}
