package node

import (
	"context"
	"fmt"
	"sync"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// onReplicas calls f for each replica at once and waits. f is told whether the replica is this node's.
func (n *Node) onReplicas(e *state.Extent, f func(node state.NodeID) error) map[state.NodeID]error {
	var mu sync.Mutex
	var wg sync.WaitGroup
	errs := map[state.NodeID]error{}
	for _, r := range e.Replicas {
		wg.Add(1)
		go func() {
			defer wg.Done()
			err := f(r.Node)
			mu.Lock()
			defer mu.Unlock()
			errs[r.Node] = err
		}()
	}
	wg.Wait()
	return errs
}

// executeCreate makes an empty durable file on every replica. If one cannot, the create fails at
// once: a create elsewhere is cheaper than waiting for a node.
func (n *Node) executeCreate(ctx context.Context, o *state.Op) (*state.Finish, error) {
	e := n.log.View().Extent(o.Extent)
	if e == nil {
		return nil, fmt.Errorf("extent %d is gone", o.Extent)
	}
	errs := n.onReplicas(e, func(node state.NodeID) error {
		if node == n.id {
			if err := n.disk.Take(wire.OpReplicaCreate, 0); err != nil {
				return err
			}
			return n.store.Create(extent.ID(e.ID), extent.Fence(o.Fence), extent.Birth(e.Birth()))
		}
		_, err := n.step(ctx, node, mux.Request{
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
