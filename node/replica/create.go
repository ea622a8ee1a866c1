package replica

import (
	"context"
	"fmt"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// executeCreate makes an empty durable file on every replica. If one cannot, the create fails at
// once: a create elsewhere is cheaper than waiting for a node.
func (rs *Replicas) executeCreate(ctx context.Context, o *state.Op) (*state.Finish, error) {
	e := rs.log.View().Extent(o.Extent)
	if e == nil {
		return nil, fmt.Errorf("extent %d is gone", o.Extent)
	}
	errs := Each(e, func(node state.NodeID) error {
		if node == rs.id {
			if err := rs.opt.TakeSpace(wire.OpReplicaCreate, 0); err != nil {
				return err
			}
			return rs.store.Create(extent.ID(e.ID), extent.Fence(o.Fence), extent.Birth(e.Birth()))
		}
		_, err := rs.reach.Step(ctx, node, mux.Request{
			Op: wire.OpReplicaCreate, Session: wire.SessionControl, Fence: uint64(o.Fence), MinIndex: uint64(o.Fence),
			Body: &wire.ReplicaCreate{Extent: uint64(e.ID), Op: uint64(o.ID), Birth: e.Birth()},
		})
		return err
	})
	for node, err := range errs {
		if err != nil {
			return nil, &finalError{fmt.Errorf("create on %s: %w", node, err)}
		}
	}
	return &state.Finish{Outcome: state.OutcomeDone}, nil
}
