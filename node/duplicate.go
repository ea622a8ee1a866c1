package node

import (
	"context"

	"github.com/datanode/datanode/node/lead"
	"github.com/datanode/datanode/wire"
)

// whoIsAt is transport.WhoIsAt, but for this node's own address.
func (n *Node) whoIsAt(ctx context.Context, addr string) (wire.Hello, error) {
	if addr == n.addr {
		return wire.Hello{Cell: n.cell(), Node: n.cfg.ID, Incarnation: n.incarnation}, nil
	}
	return n.transport.WhoIsAt(ctx, addr)
}

// lookForOriginal asks the address at which the log has this node, if that is not here, who is there. If nobody is, and
// nobody could elect a leader that admits this node, it takes its place without.
func (n *Node) lookForOriginal(ctx context.Context) error {
	addr, needed := n.log.Away()
	if addr == "" {
		return nil
	}
	there, err := n.whoIsAt(ctx, addr)
	switch {
	case err == nil && there.Node == n.cfg.ID && there.Incarnation != n.incarnation:
		return &refusedError{lead.DuplicateError(n.cfg.ID, addr, n.addr)}
	case err != nil && needed:
		return err
	case needed:
		n.logger.Warn("this node has moved: nobody is where its log has it", "was", addr, "is", n.addr)
		n.log.StayHere()
	}
	return nil
}
