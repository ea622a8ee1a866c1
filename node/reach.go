package node

import (
	"context"
	"sync"
	"time"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// shunFor is how long a node that has just failed at a step is not proposed for new extents. By then the leader
// has called it down, or what was wrong has passed.
const shunFor = 10 * time.Second

// reach is what this node knows of how the others can be reached: whom the cell has called down, so that no step
// waits for one of those any longer, and who has just failed this node, so that it names others.
type reach struct {
	n *Node

	mu     sync.Mutex
	up     map[state.NodeID]*upTime   // Guarded by mu. Nodes that are not down, once somebody has asked.
	failed map[state.NodeID]time.Time // Guarded by mu. When a step at the node has failed.
}

// upTime lasts for as long as a node is not down.
type upTime struct {
	ctx context.Context
	end context.CancelCauseFunc
}

func newReach(n *Node) *reach {
	return &reach{n: n, up: map[state.NodeID]*upTime{}, failed: map[state.NodeID]time.Time{}}
}

// whileUp is a context that ends when the cell calls the node down.
func (r *reach) whileUp(id state.NodeID) context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.up[id]
	if u == nil {
		u = &upTime{}
		u.ctx, u.end = context.WithCancelCause(r.n.ctx)
		r.up[id] = u
		if why := calledDown(r.n.log.View(), id); why != nil {
			r.endLocked(id, why)
		}
	}
	return u.ctx
}

func (r *reach) endLocked(id state.NodeID, why error) {
	r.up[id].end(why)
	delete(r.up, id)
}

// look ends the steps to nodes that are down in view.
func (r *reach) look(view *state.View) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.up {
		if why := calledDown(view, id); why != nil {
			r.endLocked(id, why)
		}
	}
}

// calledDown says that a node is down, nil if it is not.
func calledDown(view *state.View, id state.NodeID) error {
	if node := view.Node(id); node != nil && node.State == state.NodeDown {
		return wire.Errorf(0, wire.CodeUnavailable, "%s is down: the leader hears nothing of it, or its disk hangs or has failed", id)
	}
	return nil
}

// judge notes how a step at a node has ended. Only what says that the node may not be there is held against it.
func (r *reach) judge(id state.NodeID, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		delete(r.failed, id)
		return
	}
	switch wire.CodeOf(err) {
	case wire.CodeUnavailable, wire.CodeConnection, wire.CodeDeadline, wire.CodeDiskFailed, wire.CodeNoSpace:
		r.failed[id] = r.n.now()
	}
}

// shunned are the nodes that have just failed.
func (r *reach) shunned() []state.NodeID {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ids []state.NodeID
	for id, at := range r.failed {
		if r.n.now().Sub(at) > shunFor {
			delete(r.failed, id)
			continue
		}
		ids = append(ids, id)
	}
	return ids
}

// step calls another node for one step of an operation, under its fence. It ends when the cell calls the node
// down, when its connection falls silent, and at the latest after the step limit.
func (n *Node) step(ctx context.Context, to state.NodeID, req mux.Request) (mux.Reply, error) {
	limited, cancel := context.WithTimeout(ctx, n.time.stepLimit)
	defer cancel()
	up := n.others.whileUp(to)
	defer context.AfterFunc(up, cancel)()
	reply, err := n.stepOnce(limited, to, req)
	if err != nil && up.Err() != nil {
		err = context.Cause(up)
	}
	if ctx.Err() == nil {
		n.others.judge(to, err)
	}
	return reply, err
}

func (n *Node) stepOnce(ctx context.Context, to state.NodeID, req mux.Request) (mux.Reply, error) {
	conn, err := n.toNode(ctx, to)
	if err != nil {
		return mux.Reply{}, err
	}
	return conn.Call(ctx, req)
}
