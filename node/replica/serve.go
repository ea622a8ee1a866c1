package replica

import (
	"context"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// caughtUp waits until this node has applied the entry that the caller's step builds on. A node that follows the
// log from far behind, or not at all because the leader has no connection to it, answers that soon: the step is better
// done elsewhere.
func (rs *Replicas) caughtUp(ctx context.Context, c *mux.ServerCall) error {
	limited, cancel := context.WithTimeout(ctx, rs.opt.LagLimit)
	defer cancel()
	if err := rs.log.WaitApplied(limited, state.Index(c.MinIndex())); err != nil {
		return wire.Errorf(c.Op(), wire.CodeUnavailable, "%s has not applied entry %d yet, but %d",
			rs.id, c.MinIndex(), rs.log.AppliedIndex())
	}
	return nil
}

// ServeCreate makes an empty file for the node that carries out the create.
func (rs *Replicas) ServeCreate(ctx context.Context, c *mux.ServerCall, req wire.ReplicaCreate) error {
	o, err := rs.allow(ctx, c, step{op: req.Op, extent: req.Extent, kinds: []policies.Kind{policies.KindCreate}})
	if err != nil {
		return err
	}
	e, err := meant(rs.log.View(), rs.store, c.Op(), req.Extent, req.Birth)
	if err != nil {
		return err
	}
	if err := rs.store.Create(extent.ID(o.Extent), extent.Fence(o.Fence), extent.Birth(e.Birth())); err != nil {
		return err
	}
	return c.Reply(nil, nil)
}

// ServeAppend makes bytes of the primary durable here. Only the primary of an open extent,
// under the extent's epoch, may append; a seal has raised the store's fence above that epoch.
func (rs *Replicas) ServeAppend(ctx context.Context, c *mux.ServerCall, req wire.ReplicaAppend) error {
	if err := rs.caughtUp(ctx, c); err != nil {
		return err
	}
	e := rs.log.View().Extent(state.ExtentID(req.Extent))
	if err := rs.appendable(c, req, e); err != nil {
		return rs.refuseStep(c, err)
	}
	if c.Streams() {
		return rs.serveAppendStream(c, req)
	}
	parts, err := partsOf(c.Raw(), req.Parts)
	if err != nil {
		return err
	}
	if err := rs.store.Append(extent.ID(req.Extent), extent.Fence(c.Fence()), req.Offset, parts...); err != nil {
		return err
	}
	return c.Reply(nil, nil)
}

// partsOf is raw in parts of these lengths.
func partsOf(raw []byte, lengths []uint32) ([][]byte, error) {
	if len(lengths) == 0 {
		return [][]byte{raw}, nil
	}
	parts, rest := make([][]byte, len(lengths)), raw
	for i, n := range lengths {
		if uint64(n) > uint64(len(rest)) {
			return nil, wire.Errorf(wire.OpReplicaAppend, wire.CodeInvalid,
				"%d bytes, and part %d of %d ends behind them", len(raw), i+1, len(lengths))
		}
		parts[i], rest = rest[:n], rest[n:]
	}
	if len(rest) > 0 {
		return nil, wire.Errorf(wire.OpReplicaAppend, wire.CodeInvalid,
			"%d bytes, and the %d parts are %d less", len(raw), len(lengths), len(rest))
	}
	return parts, nil
}

// ServeFence does this replica's part in a seal for the node that carries it out.
func (rs *Replicas) ServeFence(ctx context.Context, c *mux.ServerCall, req wire.ReplicaFence) error {
	o, err := rs.allow(ctx, c, step{op: req.Op, extent: req.Extent, kinds: []policies.Kind{policies.KindSeal}})
	if err != nil {
		return err
	}
	reply, err := rs.sealPart.do(req, o.Fence)
	if err != nil {
		return err
	}
	return c.Reply(&reply, nil)
}

// ServeRead sends a range to the target of a copy.
func (rs *Replicas) ServeRead(ctx context.Context, c *mux.ServerCall, req wire.ReplicaRead) error {
	what := step{op: req.Op, extent: req.Extent, kinds: []policies.Kind{policies.KindRepair, policies.KindMove}}
	if _, err := rs.allow(ctx, c, what); err != nil {
		return err
	}
	e, err := meant(rs.log.View(), rs.store, c.Op(), req.Extent, req.Birth)
	if err != nil {
		return err
	}
	if err := rs.sendCopy(ctx, c, e, req.Offset, req.Length); err != nil {
		return err
	}
	return c.Reply(nil, nil)
}

// meant is the extent that a peer speaks of, if it is of the birth that the peer knows.
func meant(view *state.View, store Store, op wire.OpType, id uint64, birth uint32) (*state.Extent, error) {
	e := view.Extent(state.ExtentID(id))
	if e == nil {
		return nil, wire.Errorf(op, wire.CodeNotFound, "extent %d is deleted", id)
	}
	if err := CheckBirth(op, e, birth); err != nil {
		return nil, err
	}
	return e, store.CheckBirth(extent.ID(id), extent.Birth(e.Birth()))
}

// CheckBirth refuses what was meant for another extent of the same number, which another history of the cell has
// had. A birth of 0 is not known to who asks.
func CheckBirth(op wire.OpType, e *state.Extent, birth uint32) error {
	if birth == 0 || birth == e.Birth() {
		return nil
	}
	return wire.Errorf(op, wire.CodeNotFound,
		"extent %d of this cell was born %s, the locator names %s: it was stored in another history of this cell",
		e.ID, wire.BirthText(e.Birth()), wire.BirthText(birth))
}
