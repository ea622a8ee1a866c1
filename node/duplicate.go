package node

import (
	"context"

	"github.com/datanode/datanode/wire"
)

// whoIsAt is transport.WhoIsAt, except for this node's own address.
func (n *Node) whoIsAt(ctx context.Context, addr string) (wire.Hello, error) {
	if addr == n.addr {
		return wire.Hello{Cell: n.folder.Cell(), Node: n.cfg.ID, Incarnation: n.incarnation}, nil
	}
	return n.transport.WhoIsAt(ctx, addr)
}
