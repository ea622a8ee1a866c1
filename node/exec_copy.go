package node

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/datanode/datanode/node/diskshare"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// executeCopy makes a whole replica here, from the source that the start names. It goes on where an
// earlier attempt stopped, and ends only when length and sum of the whole are those in the log.
func (n *Node) executeCopy(ctx context.Context, o *state.Op) (*state.Finish, error) {
	e := n.log.View().Extent(o.Extent)
	if e == nil || e.State != state.ExtentSealed {
		return nil, fmt.Errorf("extent %d is not sealed", o.Extent)
	}
	if err := n.disk.Take(wire.OpReplicaRead, 0); err != nil {
		return nil, err
	}
	stage, err := n.store.Stage(extent.ID(e.ID), extent.Fence(o.Fence), extent.Birth(e.Birth()))
	if err != nil {
		return nil, err
	}
	defer stage.Close()
	share := n.disks.Copy(n.log.View(), e)
	stage.Pace(func(piece func() error) error { return share.Do(ctx, piece) })
	if stage.Len() > e.Length {
		if err := stage.Truncate(e.Length); err != nil {
			return nil, err
		}
	}
	if err := n.fill(ctx, o, e, stage, share); err != nil {
		n.suspectSource(o, err)
		if wire.CodeOf(err) == wire.CodeNoSpace || extent.CodeOf(err) == extent.CodeNoSpace {
			err = errors.Join(err, stage.Discard()) // another node is to have it, and this one needs the room
		}
		return nil, err
	}
	if !n.log.View().Runs(o.Attempt()) {
		return nil, fmt.Errorf("operation %s is no longer running under fence %d", o.ID, o.Fence)
	}
	if err := stage.Commit(e.Length, e.Sum); ctx.Err() != nil {
		return nil, errors.Join(ctx.Err(), err) // it waited for its share: what is staged may be sound
	} else if err != nil {
		if extent.CodeOf(err) == extent.CodeCorrupt {
			// It may hold other bytes with good checksums; then it is suspect.
			n.verifyReplica(ctx, costs{sharer: n.ownSharer()}, e, o.Source)
		}
		// What is staged is not what the log says, so nothing of it can be trusted for a resume.
		return nil, errors.Join(fmt.Errorf("copy of extent %d from %s: %w", e.ID, o.Source, err), stage.Discard())
	}
	n.scrub.note(e.ID)
	return &state.Finish{Outcome: state.OutcomeDone}, nil
}

// fill reads the missing rest from the source.
func (n *Node) fill(ctx context.Context, o *state.Op, e *state.Extent, stage *extent.Stage, share diskshare.Copy) error {
	if stage.Len() == e.Length {
		return nil
	}
	conn, err := n.toNode(ctx, o.Source)
	if err != nil {
		return err
	}
	stream, err := conn.Open(ctx, mux.Request{
		Op: wire.OpReplicaRead, Session: wire.SessionRepair, Fence: uint64(o.Fence), MinIndex: uint64(o.Fence),
		Body: &wire.ReplicaRead{Extent: uint64(e.ID), Op: uint64(o.ID), Offset: stage.Len(), Length: e.Length - stage.Len(), Birth: e.Birth()},
	})
	if err != nil {
		return err
	}
	defer stream.Close()
	for {
		p, err := n.recvWithin(stream, n.time.stepLimit)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if stage.Len()+uint64(len(p)) > e.Length {
			return fmt.Errorf("%s sent more of extent %d than its %d bytes", o.Source, e.ID, e.Length)
		}
		if err := n.disk.Take(wire.OpReplicaRead, len(p)); err != nil {
			return err
		}
		if err := appendShared(ctx, stage, share, p); err != nil {
			return err
		}
	}
	if stage.Len() != e.Length {
		return fmt.Errorf("%s sent extent %d up to byte %d of %d", o.Source, e.ID, stage.Len(), e.Length)
	}
	return nil
}

// appendShared adds p, in the pieces and with the syncs that leave clients their share of the disk.
func appendShared(ctx context.Context, stage *extent.Stage, share diskshare.Copy, p []byte) error {
	for len(p) > 0 {
		piece := p[:share.Piece(len(p))]
		if err := share.Do(ctx, func() error { return stage.Append(piece) }); err != nil {
			return err
		}
		p = p[len(piece):]
		if share.Yields() && stage.Unsynced() >= diskshare.SyncBytes {
			if err := share.Do(ctx, stage.Sync); err != nil {
				return err
			}
		}
	}
	return nil
}

// suspectSource tells the cell when a copy failed because the source is damaged.
func (n *Node) suspectSource(o *state.Op, err error) {
	if code := wire.CodeOf(err); code == wire.CodeCorrupt || code == wire.CodeNotFound {
		n.noteSuspect(o.Extent, o.Source, err.Error())
	}
}

// noteUnread tells the cell of a replica whose bytes a read has found damaged or missing; any other failure to
// read says nothing of the replica.
func (n *Node) noteUnread(e *state.Extent, node state.NodeID, err error) {
	var gone *sendError
	if err == nil || errors.As(err, &gone) {
		return
	}
	switch code := n.typed(wire.OpRead, err).Code; {
	case e.State == state.ExtentOpen && code == wire.CodeCorrupt:
		n.sealRotten(e, node, err)
	case e.State == state.ExtentSealed && (code == wire.CodeCorrupt || code == wire.CodeNotFound):
		from := uint64(0)
		if bad := (*extent.Error)(nil); errors.As(err, &bad) {
			from = bad.Offset
		}
		n.noteSuspectFrom(e.ID, node, err.Error(), from)
	}
}

// sealRotten has an open extent sealed because a replica has rotted: the seal reads what every replica holds, and
// what it does not confirm is repaired.
func (n *Node) sealRotten(e *state.Extent, node state.NodeID, err error) {
	view := n.log.View()
	for _, id := range e.Ops {
		if o := view.Op(id); o != nil && o.Kind == policies.KindSeal {
			return // asked for already
		}
	}
	n.logger.Warn("replica of an open extent is damaged", "extent", uint64(e.ID), "replica", string(node), "why", err)
	n.appends.ask(policies.KindSeal, e.ID)
}

// noteSuspect tells the cell that a replica cannot be read. If that is lost, the next read finds it again.
func (n *Node) noteSuspect(id state.ExtentID, node state.NodeID, why string) {
	n.noteSuspectFrom(id, node, why, 0)
}

// noteSuspectFrom says from which byte on. Of its own replica a node says so also if no other is known to be whole:
// the extent is damaged then.
func (n *Node) noteSuspectFrom(id state.ExtentID, node state.NodeID, why string, from uint64) {
	if e := n.log.View().Extent(id); e != nil {
		r, holds := e.Replica(node)
		if !holds || r.State == state.ReplicaSuspect || e.Damaged && e.DamagedFrom <= from {
			return // known
		}
	}
	n.logger.Warn("replica is damaged", "extent", uint64(id), "replica", string(node), "why", why)
	n.report.note(&state.Suspect{Extent: id, Node: node, Note: wire.Clip(why, maxDetailBytes), Always: node == n.id && n.proves(), From: from})
}
