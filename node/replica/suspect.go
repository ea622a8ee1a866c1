package replica

import (
	"errors"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/failure"
	"github.com/datanode/datanode/node/report"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// suspectSource tells the cell when a copy failed because the source is damaged.
func (rs *Replicas) suspectSource(o *state.Op, err error) {
	if code := wire.CodeOf(err); code == wire.CodeCorrupt || code == wire.CodeNotFound {
		rs.NoteSuspect(o.Extent, o.Source, err.Error())
	}
}

// NoteUnread tells the cell of a replica whose bytes a read has found damaged or missing; any other failure to
// read says nothing of the replica.
func (rs *Replicas) NoteUnread(e *state.Extent, node state.NodeID, err error) {
	var gone *SendError
	if err == nil || errors.As(err, &gone) {
		return
	}
	switch code := failure.Of(wire.OpRead, rs.id, err).Code; {
	case e.State == state.ExtentOpen && code == wire.CodeCorrupt:
		rs.sealDamagedOpen(e, node, err)
	case e.State == state.ExtentSealed && (code == wire.CodeCorrupt || code == wire.CodeNotFound):
		from := uint64(0)
		if bad := (*extent.Error)(nil); errors.As(err, &bad) {
			from = bad.Offset
		}
		rs.noteSuspectFrom(e.ID, node, err.Error(), from)
	}
}

// sealDamagedOpen has an open extent sealed because a replica has rotted: the seal reads what every replica holds, and
// what it does not confirm is repaired.
func (rs *Replicas) sealDamagedOpen(e *state.Extent, node state.NodeID, err error) {
	view := rs.log.View()
	for _, id := range e.Ops {
		if o := view.Op(id); o != nil && o.Kind == policies.KindSeal {
			return // asked for already
		}
	}
	rs.logger.Warn("replica of an open extent is damaged", "extent", uint64(e.ID), "replica", string(node), "why", err)
	rs.opt.AskSeal(e.ID)
}

// NoteSuspect tells the cell that a replica cannot be read. If that is lost, the next read finds it again.
func (rs *Replicas) NoteSuspect(id state.ExtentID, node state.NodeID, why string) {
	rs.noteSuspectFrom(id, node, why, 0)
}

// noteSuspectFrom says from which byte on. Of its own replica a node says so also if no other is known to be whole:
// the extent is damaged then.
func (rs *Replicas) noteSuspectFrom(id state.ExtentID, node state.NodeID, why string, from uint64) {
	if e := rs.log.View().Extent(id); e != nil {
		r, holds := e.Replica(node)
		if !holds || r.State == state.ReplicaSuspect || e.Damaged && e.DamagedFrom <= from {
			return // known
		}
	}
	rs.logger.Warn("replica is damaged", "extent", uint64(id), "replica", string(node), "why", why)
	rs.opt.Reports.Note(&state.Suspect{Extent: id, Node: node, Note: wire.Clip(why, report.MaxDetailBytes), Always: node == rs.id && rs.proves(), From: from})
}
