package replica

import (
	"context"
	"fmt"
	"slices"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// StepTypes are the calls that do a part of an operation on this node.
func StepTypes() []wire.OpType {
	return []wire.OpType{
		wire.OpReplicaCreate, wire.OpReplicaAppend, wire.OpReplicaFence, wire.OpReplicaRead, wire.OpReplicaSum,
	}
}

// step is what a peer says that it wants something done for.
type step struct {
	op     uint64
	extent uint64
	kinds  []policies.Kind // that have such a step
}

// allow is the execution check of a step that a peer asks for: this node waits until it has applied
// the start, then makes sure that the operation runs under this very fence, and that the step is one of it: that
// it is of such a kind, about this extent, carried out by who asks, and has a part for this node.
func (rs *Replicas) allow(ctx context.Context, c *mux.ServerCall, s step) (*state.Op, error) {
	if err := rs.caughtUp(ctx, c); err != nil {
		return nil, err
	}
	view := rs.log.View()
	if why := rs.notOf(view, c, s); why != "" {
		return nil, rs.refuseStep(c, wire.Errorf(c.Op(), wire.CodeNotRunning, "%s", why))
	}
	return view.Op(state.OpID(s.op)), nil
}

// notOf is why a step does not belong to the operation that it names, "" when it does.
func (rs *Replicas) notOf(view *state.View, c *mux.ServerCall, s step) string {
	id, fence := state.OpID(s.op), state.Fence(c.Fence())
	if !view.Runs(state.Attempt{Op: id, Fence: fence}) {
		return fmt.Sprintf("operation %s is not running under fence %d", id, fence)
	}
	o := view.Op(id)
	e := view.Extent(o.Extent)
	switch {
	case !slices.Contains(s.kinds, o.Kind):
		return fmt.Sprintf("operation %s is a %s, which has no such step", id, o.Kind)
	case uint64(o.Extent) != s.extent || e == nil:
		return fmt.Sprintf("operation %s is about extent %d, not %d", id, o.Extent, s.extent)
	case string(o.Executor) != c.Peer().Node:
		return fmt.Sprintf("operation %s is carried out by %s, not by %q", id, o.Executor, c.Peer().Node)
	}
	if o.Copies() { // from another whole replica where the source has failed
		if r, _ := e.Replica(rs.id); o.Source != rs.id && r.State != state.ReplicaWhole {
			return fmt.Sprintf("operation %s copies from %s, and %s has no whole replica", id, o.Source, rs.id)
		}
		return ""
	}
	if _, holds := e.Replica(rs.id); !holds {
		return fmt.Sprintf("operation %s has no part for %s: extent %d has no replica there", id, rs.id, e.ID)
	}
	return ""
}

// appendable refuses an append that is not of the primary of an open extent, under its epoch, to a replica of it.
func (rs *Replicas) appendable(c *mux.ServerCall, req wire.ReplicaAppend, e *state.Extent) *wire.Error {
	switch {
	case e == nil || e.State == state.ExtentDeleted:
		return wire.Errorf(c.Op(), wire.CodeNotFound, "extent %d is deleted", req.Extent)
	case e.State == state.ExtentSealed || e.Epoch != state.Fence(c.Fence()):
		return wire.Errorf(c.Op(), wire.CodeStaleFence, "extent %d is %s at epoch %d, the append is of %d",
			req.Extent, e.State, e.Epoch, c.Fence())
	case req.Birth != 0 && req.Birth != e.Birth(): // extents whose creates started together have one epoch
		return wire.Errorf(c.Op(), wire.CodeStaleFence, "extent %d was born %s, the append is to one born %s",
			req.Extent, wire.BirthText(e.Birth()), wire.BirthText(req.Birth))
	case c.Peer().Node != string(e.Primary()):
		return wire.Errorf(c.Op(), wire.CodeStaleFence, "%s is not the primary of extent %d", c.Peer().Node, req.Extent)
	}
	if _, holds := e.Replica(rs.id); !holds {
		return wire.Errorf(c.Op(), wire.CodeStaleFence, "extent %d has no replica on %s", req.Extent, rs.id)
	}
	return nil
}

// refuseStep counts a step that does not belong to what runs, and passes its refusal on. Some are to be expected: an
// operation that has just been ended, a primary that was cut off. Many are a bug in this program.
func (rs *Replicas) refuseStep(c *mux.ServerCall, why *wire.Error) error {
	rs.refused[c.Op()].Add(1)
	rs.logger.Warn("step refused", "step", c.Op().String(), "from", c.Peer().Node, "why", why.Detail)
	return why
}
