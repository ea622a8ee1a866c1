package replica

import (
	"context"
	"time"

	"github.com/datanode/datanode/node/failure"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// question is what a seal asks replicas.
type question struct {
	op       *state.Op
	of       []state.Replica
	text     wire.ReplicaFence
	patience time.Duration
	heard    func(state.NodeID, sealVote) // takes the answer of each, one at a time
	enough   func() bool                  // whether the seal can go on without the others
}

// ask asks all replicas at once, and hands over what each answers. After patience it waits for no
// more as soon as those that have answered are enough.
func (s *sealer) ask(ctx context.Context, q question) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		node state.NodeID
		vote sealVote
	}
	answers := make(chan answer, len(q.of))
	waiting := map[state.NodeID]bool{}
	for _, r := range q.of {
		waiting[r.Node] = true
		go func() { answers <- answer{r.Node, s.askReplica(ctx, r.Node, q)} }()
	}
	soon, over, late := s.clock.After(sealSoon), s.clock.After(q.patience), false
	for len(waiting) > 0 && !(late && q.enough()) {
		select {
		case a := <-answers:
			delete(waiting, a.node)
			q.heard(a.node, a.vote)
		case <-soon:
			soon, late = nil, late || s.allSilent(waiting)
		case <-over:
			over, late = nil, true
		case <-ctx.Done():
			return
		}
	}
	for id := range waiting {
		q.heard(id, sealVote{err: wire.Errorf(
			wire.OpReplicaFence, wire.CodeDeadline, "%s has not answered in time", id)})
	}
}

// allSilent reports whether this node leads, and has had no heartbeat of any of nodes for a while.
func (s *sealer) allSilent(nodes map[state.NodeID]bool) bool {
	for id := range nodes {
		if !s.silent(id) {
			return false
		}
	}
	return true
}

// askReplica asks one replica until it answers, or its node is called down: a connection that breaks is dialed again.
func (s *sealer) askReplica(ctx context.Context, node state.NodeID, q question) sealVote {
	for {
		v := s.askOnce(ctx, node, q)
		switch wire.CodeOf(v.err) {
		case wire.CodeUnavailable, wire.CodeConnection, wire.CodeDeadline:
		default:
			return v
		}
		if calledDown(s.log.View(), node) != nil {
			return v
		}
		select {
		case <-s.clock.After(sealAgain):
		case <-ctx.Done():
			return v
		}
	}
}

func (s *sealer) askOnce(ctx context.Context, node state.NodeID, q question) (v sealVote) {
	fence := q.op.Fence
	if node == s.id {
		v = s.askHere(ctx, q.text, fence)
	} else {
		var reply mux.Reply
		reply, v.err = s.step(ctx, node, mux.Request{
			Op: wire.OpReplicaFence, Session: wire.SessionControl, Fence: uint64(fence), MinIndex: uint64(fence),
			Body: &q.text,
		})
		if v.err == nil {
			v.err = reply.Decode(&v.ReplicaLength)
		}
	}
	if v.err != nil {
		v.err = failure.Of(wire.OpReplicaFence, s.id, v.err)
	}
	return v
}

// askHere is this node's own part. When its disk hangs, the seal goes on without it; the call returns when the disk
// does.
func (s *sealer) askHere(ctx context.Context, text wire.ReplicaFence, fence state.Fence) sealVote {
	done := make(chan sealVote, 1)
	go func() {
		var v sealVote
		v.ReplicaLength, v.err = s.part.do(text, fence)
		done <- v
	}()
	select {
	case v := <-done:
		return v
	case <-ctx.Done():
		return sealVote{err: ctx.Err()}
	}
}
