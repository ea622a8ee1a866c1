package node

import (
	"context"
	"fmt"
	"slices"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// serveVerify has every replica of an extent read in full and holds it against the log.
func (n *Node) serveVerify(ctx context.Context, c *mux.ServerCall, req wire.VerifyRequest) error {
	e, err := n.freshExtent(ctx, state.ExtentID(req.Extent))
	if err != nil {
		return err
	}
	if e.State != state.ExtentSealed {
		return wire.Errorf(c.Op(), wire.CodePrecondition, "extent %d is %s: only a sealed extent has a sum to hold its replicas against", e.ID, e.State)
	}
	done, err := n.turn(ctx, c, workVerify)
	if err != nil {
		return err
	}
	defer done()
	who := n.costsOf(c)
	found := make(chan wire.Verified, len(e.Replicas))
	n.onReplicas(e, func(node state.NodeID) error {
		found <- n.verifyReplica(ctx, who, e, node)
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

// verifyReplica has one replica read.
func (n *Node) verifyReplica(ctx context.Context, who costs, e *state.Extent, node state.NodeID) wire.Verified {
	out := wire.Verified{Extent: uint64(e.ID), Node: string(node)}
	got, err := n.sumAt(ctx, who, e, node)
	switch {
	case err != nil:
		out.Detail = err.Error()
		code := n.typed(wire.OpVerify, err).Code
		if out.Unchecked = code != wire.CodeCorrupt && code != wire.CodeNotFound; !out.Unchecked {
			n.noteSuspect(e.ID, node, err.Error())
		}
	case got.Length == e.Length && (got.Sum == e.Sum || e.Whole() == 0):
		out.OK = true
		n.noteProven(e, node, got)
	default:
		out.Detail = fmt.Sprintf("the log says %d bytes with sum %s", e.Length, wire.SumText(e.Sum))
		n.noteSuspect(e.ID, node, out.Detail)
	}
	if err == nil {
		out.Length, out.Sum = got.Length, wire.SumText(got.Sum)
	}
	return out
}

// noteProven tells the cell that a replica which did not count is what it should be.
func (n *Node) noteProven(e *state.Extent, node state.NodeID, got wire.ReplicaLength) {
	if r, _ := e.Replica(node); (r.State == state.ReplicaSuspect || e.Damaged) && n.proves() {
		n.report.note(&state.Proven{Extent: e.ID, Node: node, Length: got.Length, Sum: got.Sum})
	}
}

func (n *Node) sumAt(
	ctx context.Context, who costs, e *state.Extent, node state.NodeID,
) (wire.ReplicaLength, error) {
	if node == n.id {
		done, err := n.turns[workSums].Take(ctx, who.sharer)
		if err != nil {
			return wire.ReplicaLength{}, err
		}
		defer done()
		return n.sumHere(e)
	}
	var out wire.ReplicaLength
	reply, err := n.step(ctx, node, mux.Request{
		Op: wire.OpReplicaSum, Session: wire.SessionRepair, MinIndex: uint64(n.log.AppliedIndex()), OnBehalf: who.behalf,
		Body: &wire.ReplicaSum{Extent: uint64(e.ID), Length: e.Length, Birth: e.Birth()},
	})
	if err != nil {
		return out, err
	}
	return out, reply.Decode(&out)
}

func (n *Node) serveReplicaSum(ctx context.Context, c *mux.ServerCall, req wire.ReplicaSum) error {
	e, err := n.meant(c.Op(), req.Extent, req.Birth)
	if err != nil {
		return err
	}
	if _, holds := e.Replica(n.id); !holds || e.State != state.ExtentSealed {
		return wire.Errorf(c.Op(), wire.CodePrecondition, "%s is to have no sealed replica of extent %d", n.id, e.ID)
	}
	done, err := n.turn(ctx, c, workSums)
	if err != nil {
		return err
	}
	defer done()
	reply, err := n.sumHere(e)
	if err != nil {
		return err
	}
	return c.Reply(&reply, nil)
}

// sumHere reads this node's replica of a sealed extent in full.
func (n *Node) sumHere(e *state.Extent) (wire.ReplicaLength, error) {
	if err := n.store.CheckBirth(extent.ID(e.ID), extent.Birth(e.Birth())); err != nil {
		return wire.ReplicaLength{}, err
	}
	sum, err := n.store.Sum(extent.ID(e.ID), e.Length)
	return wire.ReplicaLength{Length: e.Length, Sum: sum}, err
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
