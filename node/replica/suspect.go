package replica

import (
	"errors"
	"log/slog"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/failure"
	"github.com/datanode/datanode/node/report"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// suspects reports replicas that are not what the log has, and those that prove to be it after all.
type suspects struct {
	id      state.NodeID
	log     Log
	logger  *slog.Logger
	reports *report.Queue
	askSeal func(state.ExtentID) // in the background
}

// NoteUnread reports a replica whose bytes a read has found damaged or missing; any other failure to
// read means nothing for the replica.
func (rs *Replicas) NoteUnread(e *state.Extent, node state.NodeID, err error) {
	rs.suspects.unread(e, node, err)
}

// NoteSuspect reports that a replica cannot be read. If that is lost, the next read finds it again.
func (rs *Replicas) NoteSuspect(id state.ExtentID, node state.NodeID, why string) {
	rs.suspects.note(id, node, why, 0)
}

// source reports a source of a copy that failed because it is damaged.
func (s *suspects) source(id state.ExtentID, source state.NodeID, err error) {
	if code := wire.CodeOf(err); code == wire.CodeCorrupt || code == wire.CodeNotFound {
		s.note(id, source, err.Error(), 0)
	}
}

func (s *suspects) unread(e *state.Extent, node state.NodeID, err error) {
	var gone *SendError
	if err == nil || errors.As(err, &gone) {
		return
	}
	switch code := failure.Of(wire.OpRead, s.id, err).Code; {
	case e.State == state.ExtentOpen && code == wire.CodeCorrupt:
		s.sealOpen(e, node, err)
	case e.Final() && (code == wire.CodeCorrupt || code == wire.CodeNotFound):
		from := uint64(0)
		if bad := (*extent.Error)(nil); errors.As(err, &bad) {
			from = bad.Offset
		}
		s.note(e.ID, node, err.Error(), from)
	}
}

// sealOpen has an open extent sealed because a replica has rotted: the seal reads what every replica holds, and
// what it does not confirm is repaired.
func (s *suspects) sealOpen(e *state.Extent, node state.NodeID, err error) {
	view := s.log.View()
	for _, id := range e.Ops {
		if o := view.Op(id); o != nil && o.Kind == policies.KindSeal {
			return // asked for already
		}
	}
	s.logger.Warn("replica of an open extent is damaged", "extent", uint64(e.ID), "replica", string(node), "why", err)
	s.askSeal(e.ID)
}

// note reports that a replica cannot be read from a byte on. Its own replica a node reports also if no other is known
// to be whole: the extent is damaged then.
func (s *suspects) note(id state.ExtentID, node state.NodeID, why string, from uint64) {
	if e := s.log.View().Extent(id); e != nil {
		r, holds := e.Replica(node)
		if !holds || r.State == state.ReplicaSuspect || e.Damaged && e.DamagedFrom <= from {
			return // known
		}
	}
	s.logger.Warn("replica is damaged", "extent", uint64(id), "replica", string(node), "why", why)
	s.reports.Note(&state.Suspect{
		Extent: id, Node: node, Note: wire.Clip(why, report.MaxDetailBytes), From: from,
		Always: node == s.id && s.log.View().AllReach(state.LevelProven),
	})
}

// proven reports that a replica which did not count is what it should be.
func (s *suspects) proven(e *state.Extent, node state.NodeID, got wire.ReplicaLength) {
	r, _ := e.Replica(node)
	if (r.State == state.ReplicaSuspect || e.Damaged) && s.log.View().AllReach(state.LevelProven) {
		s.reports.Note(&state.Proven{Extent: e.ID, Node: node, Length: got.Length, Sum: got.Sum})
	}
}
