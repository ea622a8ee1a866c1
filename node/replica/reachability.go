package replica

import (
	"context"
	"sync"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// failingFor is how long a node that has just failed at a step is not proposed for new extents. By then the leader
// has called it down, or what was wrong has passed.
const failingFor = 10 * time.Second

// Reachability is what this node knows about how the others can be reached: whom the cell has called down, so that no
// step waits for one of those any longer, and who has just failed this node, so that it names others. It calls them for
// steps. Its methods may be called from any goroutine.
type Reachability struct {
	opt ReachabilityOptions

	mu     sync.Mutex
	up     map[state.NodeID]*upTime   // Guarded by mu. Nodes that are not down, once somebody has asked.
	failed map[state.NodeID]time.Time // Guarded by mu. When a step at the node has failed.
}

// ReachabilityOptions is what Reachability needs of its node.
type ReachabilityOptions struct {
	Log   Log
	Clock clock.Clock
	// StepLimit is how long one step may take, and how long a stream may bring nothing.
	StepLimit time.Duration
	// ToNode is a connection to a node of the cell.
	ToNode func(context.Context, state.NodeID) (*mux.Conn, error)
}

// upTime lasts for as long as a node is not down.
type upTime struct {
	ctx context.Context
	end context.CancelCauseFunc
}

// NewReachability knows nothing of any node yet. Somebody must call Update at every change of the state.
func NewReachability(o ReachabilityOptions) *Reachability {
	return &Reachability{opt: o, up: map[state.NodeID]*upTime{}, failed: map[state.NodeID]time.Time{}}
}

// whileUp is a context that ends when the cell calls the node down.
func (r *Reachability) whileUp(id state.NodeID) context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.up[id]
	if u == nil {
		u = &upTime{}
		u.ctx, u.end = context.WithCancelCause(context.Background())
		r.up[id] = u
		if why := calledDown(r.opt.Log.View(), id); why != nil {
			r.endLocked(id, why)
		}
	}
	return u.ctx
}

func (r *Reachability) endLocked(id state.NodeID, why error) {
	r.up[id].end(why)
	delete(r.up, id)
}

// Update ends the steps to nodes that are down in view.
func (r *Reachability) Update(view *state.View) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.up {
		if why := calledDown(view, id); why != nil {
			r.endLocked(id, why)
		}
	}
}

// calledDown is the error of a step at a node that is down, nil if it is not.
func calledDown(view *state.View, id state.NodeID) error {
	if node := view.Node(id); node != nil && node.State == state.NodeDown {
		return wire.Errorf(0, wire.CodeUnavailable,
			"%s is down: the leader hears nothing of it, or its disk hangs or has failed", id)
	}
	return nil
}

// note remembers how a step at a node has ended, if that says that the node may not be there.
func (r *Reachability) note(id state.NodeID, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		delete(r.failed, id)
		return
	}
	switch wire.CodeOf(err) {
	case wire.CodeUnavailable, wire.CodeConnection, wire.CodeDeadline, wire.CodeDiskFailed, wire.CodeNoSpace:
		r.failed[id] = r.opt.Clock.Now()
	}
}

// Failing are the nodes that have just failed at a step.
func (r *Reachability) Failing() []state.NodeID {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ids []state.NodeID
	for id, at := range r.failed {
		if r.opt.Clock.Now().Sub(at) > failingFor {
			delete(r.failed, id)
			continue
		}
		ids = append(ids, id)
	}
	return ids
}

// Step calls another node for one step of an operation, under its fence. It ends when the cell calls the node
// down, when its connection falls silent, and at the latest after the step limit.
func (r *Reachability) Step(ctx context.Context, to state.NodeID, req mux.Request) (mux.Reply, error) {
	limited, cancel := context.WithTimeout(ctx, r.opt.StepLimit)
	defer cancel()
	up := r.whileUp(to)
	defer context.AfterFunc(up, cancel)()
	reply, err := r.stepOnce(limited, to, req)
	if err != nil && up.Err() != nil {
		err = context.Cause(up)
	}
	if ctx.Err() == nil {
		r.note(to, err)
	}
	return reply, err
}

func (r *Reachability) stepOnce(ctx context.Context, to state.NodeID, req mux.Request) (mux.Reply, error) {
	conn, err := r.opt.ToNode(ctx, to)
	if err != nil {
		return mux.Reply{}, err
	}
	return conn.Call(ctx, req)
}

// Recv is the stream's next chunk. A peer that lives but sends none, because its disk hangs for
// one, must not hold up a read or a copy for ever.
func (r *Reachability) Recv(stream *mux.Stream) ([]byte, error) {
	p, _, err := r.RecvSum(stream)
	return p, err
}

// recv is Recv with another limit.
func (r *Reachability) recv(stream *mux.Stream, limit time.Duration) ([]byte, error) {
	stop := r.opt.Clock.AfterFunc(limit, stream.Cancel)
	defer stop()
	p, _, err := stream.RecvSum()
	return p, err
}

// RecvSum is Recv, and the CRC32C of the chunk.
func (r *Reachability) RecvSum(stream *mux.Stream) (p []byte, sum uint32, err error) {
	stop := r.opt.Clock.AfterFunc(r.opt.StepLimit, stream.Cancel)
	defer stop()
	return stream.RecvSum()
}
