package node

import (
	"context"
	"errors"
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

// step calls another node for one step of an operation, under its fence.
func (n *Node) step(ctx context.Context, to state.NodeID, req mux.Request) (mux.Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, n.time.stepLimit)
	defer cancel()
	conn, err := n.toNode(ctx, to)
	if err != nil {
		return mux.Reply{}, err
	}
	return conn.Call(ctx, req)
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

// sealVote is what one replica said in a seal.
type sealVote struct {
	wire.ReplicaLength
	err error
}

// sealPatience is from which attempt on a seal does without the replicas that do not answer. Each of
// those must be copied anew, which is too much for one broken connection.
const sealPatience = 3

// executeSeal finds the final length of an extent and makes the replicas agree on it.
//
// First every replica that can be reached raises its fence, so that no append is acknowledged any
// more, and says how far it got. An acknowledged byte is on all replicas, so the shortest length
// holds every one. Then each cuts its file there and reads it back for the sum. The replicas that
// answer the sum of the majority are confirmed; the others are suspect and will be repaired.
func (n *Node) executeSeal(ctx context.Context, o *state.Op) (*state.Finish, error) {
	e := n.log.View().Extent(o.Extent)
	if e == nil {
		return nil, fmt.Errorf("extent %d is gone", o.Extent)
	}
	lengths := n.sealRound(ctx, e, o, wire.ReplicaFence{Extent: uint64(e.ID), Op: uint64(o.ID)})
	var length uint64
	reached := 0
	var errs []error
	for node, v := range lengths {
		if v.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", node, v.err))
			continue
		}
		if reached == 0 || v.Length < length {
			length = v.Length
		}
		reached++
	}
	if reached == 0 {
		return nil, fmt.Errorf("no replica of extent %d answered: %w", e.ID, errors.Join(errs...))
	}
	if len(errs) > 0 && o.Attempts < sealPatience {
		return nil, fmt.Errorf("not every replica of extent %d answered: %w", e.ID, errors.Join(errs...))
	}
	sums := n.sealRound(ctx, e, o, wire.ReplicaFence{Extent: uint64(e.ID), Op: uint64(o.ID), Seal: true, Length: length})
	sum, confirmed := agree(e, sums, length)
	if len(confirmed) == 0 {
		return nil, fmt.Errorf("no replica of extent %d could be read back", e.ID)
	}
	return &state.Finish{Outcome: state.OutcomeDone, Length: length, Sum: sum, Confirmed: confirmed}, nil
}

// sealRound asks each replica that may be trusted one question of the seal.
func (n *Node) sealRound(ctx context.Context, e *state.Extent, o *state.Op, q wire.ReplicaFence) map[state.NodeID]sealVote {
	var mu sync.Mutex
	votes := map[state.NodeID]sealVote{}
	n.onReplicas(e, func(node state.NodeID) error {
		v := sealVote{}
		if node == n.id {
			v.ReplicaLength, v.err = n.fenceReplica(q, o.Fence)
		} else {
			var reply mux.Reply
			reply, v.err = n.step(ctx, node, mux.Request{
				Op: wire.OpReplicaFence, Session: wire.SessionControl, Fence: uint64(o.Fence), MinIndex: uint64(o.Fence), Body: &q,
			})
			if v.err == nil {
				v.err = reply.Decode(&v.ReplicaLength)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		votes[node] = v
		return v.err
	})
	return votes
}

// agree is the sum that most replicas answered, in doubt the one of the earlier replica, and who
// answered it.
func agree(e *state.Extent, votes map[state.NodeID]sealVote, length uint64) (sum uint32, confirmed []state.NodeID) {
	for _, candidate := range e.Replicas {
		v := votes[candidate.Node]
		if v.err != nil || v.Length != length {
			continue
		}
		var same []state.NodeID
		for _, r := range e.Replicas {
			if w := votes[r.Node]; w.err == nil && w.Length == length && w.Sum == v.Sum {
				same = append(same, r.Node)
			}
		}
		if len(same) > len(confirmed) {
			sum, confirmed = v.Sum, same
		}
	}
	return sum, confirmed
}
