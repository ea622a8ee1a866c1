package node

import (
	"context"
	"slices"

	"github.com/datanode/datanode/node/fair"
	"github.com/datanode/datanode/node/replica"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// serveVerify has every replica of an extent read in full and holds it against the log.
func (n *Node) serveVerify(ctx context.Context, c *mux.ServerCall, req wire.VerifyRequest) error {
	e, err := n.data.FreshExtent(ctx, state.ExtentID(req.Extent))
	if err != nil {
		return err
	}
	if e.State != state.ExtentSealed {
		return wire.Errorf(c.Op(), wire.CodePrecondition, "extent %d is %s: only a sealed extent has a sum to hold its replicas against", e.ID, e.State)
	}
	done, err := n.turn(ctx, c, fair.WorkVerify)
	if err != nil {
		return err
	}
	defer done()
	who := n.requesterOf(c)
	found := make(chan wire.Verified, len(e.Replicas))
	replica.Each(e, func(node state.NodeID) error {
		found <- n.replicas.Verify(ctx, who, e, node)
		return nil
	})
	close(found)
	var reply wire.VerifyReply
	for v := range found {
		reply.Replicas = append(reply.Replicas, v)
	}
	slices.SortFunc(reply.Replicas, func(a, b wire.Verified) int { return slices.Compare([]string{a.Node}, []string{b.Node}) })
	return c.Reply(&reply, nil)
}

func (n *Node) serveInventory(ctx context.Context, c *mux.ServerCall) error {
	out := wire.InventoryReply{Node: string(n.id), Extents: []uint64{}, Staging: []uint64{}, Quarantined: []string{}}
	for _, id := range n.store.IDs() {
		out.Extents = append(out.Extents, uint64(id))
	}
	for _, id := range n.store.Staged() {
		out.Staging = append(out.Staging, uint64(id))
	}
	return c.Reply(&out, nil)
}
