package replica

import (
	"context"
	"fmt"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/failure"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// Requester is whose share something takes that is done for a call, here and on other nodes.
type Requester struct {
	Sharer string
	Behalf string // whom to name when another node is asked; empty: this node
}

// Verify has one replica read.
func (rs *Replicas) Verify(ctx context.Context, who Requester, e *state.Extent, node state.NodeID) wire.Verified {
	out := wire.Verified{Extent: uint64(e.ID), Node: string(node)}
	got, err := rs.sumAt(ctx, who, e, node)
	switch {
	case err != nil:
		out.Detail = err.Error()
		code := failure.Of(wire.OpVerify, rs.id, err).Code
		if out.Unchecked = code != wire.CodeCorrupt && code != wire.CodeNotFound; !out.Unchecked {
			rs.NoteSuspect(e.ID, node, err.Error())
		}
	case got.Length == e.Length && (got.Sum == e.Sum || e.Whole() == 0):
		out.OK = true
		rs.suspects.proven(e, node, got)
	default:
		out.Detail = fmt.Sprintf("the log says %d bytes with sum %s", e.Length, wire.SumText(e.Sum))
		rs.NoteSuspect(e.ID, node, out.Detail)
	}
	if err == nil {
		out.Length, out.Sum = got.Length, wire.SumText(got.Sum)
	}
	return out
}

func (rs *Replicas) sumAt(
	ctx context.Context, who Requester, e *state.Extent, node state.NodeID,
) (wire.ReplicaLength, error) {
	if node == rs.id {
		done, err := rs.opt.TakeTurn(ctx, who.Sharer)
		if err != nil {
			return wire.ReplicaLength{}, err
		}
		defer done()
		return rs.sumHere(e)
	}
	var out wire.ReplicaLength
	reply, err := rs.reach.Step(ctx, node, mux.Request{
		Op: wire.OpReplicaSum, Session: wire.SessionRepair, MinIndex: uint64(rs.log.AppliedIndex()), OnBehalf: who.Behalf,
		Body: &wire.ReplicaSum{Extent: uint64(e.ID), Length: e.Length, Birth: e.Birth()},
	})
	if err != nil {
		return out, err
	}
	return out, reply.Decode(&out)
}

// ServeSum reads this node's replica of an extent in full, for a node that verifies it.
func (rs *Replicas) ServeSum(ctx context.Context, c *mux.ServerCall, req wire.ReplicaSum) error {
	e, err := meant(rs.log.View(), rs.store, c.Op(), req.Extent, req.Birth)
	if err != nil {
		return err
	}
	if _, holds := e.Replica(rs.id); !holds || !e.Final() {
		return wire.Errorf(c.Op(), wire.CodePrecondition, "%s is to have no sealed replica of extent %d", rs.id, e.ID)
	}
	done, err := rs.opt.TakeTurn(ctx, rs.opt.Sharer(c))
	if err != nil {
		return err
	}
	defer done()
	reply, err := rs.sumHere(e)
	if err != nil {
		return err
	}
	return c.Reply(&reply, nil)
}

// sumHere reads this node's replica of a sealed extent in full.
func (rs *Replicas) sumHere(e *state.Extent) (wire.ReplicaLength, error) {
	if err := rs.store.CheckBirth(extent.ID(e.ID), extent.Birth(e.Birth())); err != nil {
		return wire.ReplicaLength{}, err
	}
	sum, err := rs.store.Sum(extent.ID(e.ID), e.Length)
	return wire.ReplicaLength{Length: e.Length, Sum: sum}, err
}
