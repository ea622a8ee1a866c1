package replica

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/datanode/datanode/node/diskshare"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// executeCopy makes a whole replica here, from the source that the start names. It goes on where an
// earlier attempt stopped, and ends only when length and sum of the whole are those in the log.
func (rs *Replicas) executeCopy(ctx context.Context, o *state.Op) (*state.Finish, error) {
	e := rs.log.View().Extent(o.Extent)
	if e == nil || e.State != state.ExtentSealed {
		return nil, fmt.Errorf("extent %d is not sealed", o.Extent)
	}
	if err := rs.opt.TakeSpace(wire.OpReplicaRead, 0); err != nil {
		return nil, err
	}
	stage, err := rs.store.Stage(extent.ID(e.ID), extent.Fence(o.Fence), extent.Birth(e.Birth()))
	if err != nil {
		return nil, err
	}
	defer stage.Close()
	share := rs.copying(e)
	stage.Pace(func(piece func() error) error { return share.Do(ctx, piece) })
	if stage.Len() > e.Length {
		if err := stage.Truncate(e.Length); err != nil {
			return nil, err
		}
	}
	if err := rs.fill(ctx, o, e, stage, share); err != nil {
		rs.suspectSource(o, err)
		if wire.CodeOf(err) == wire.CodeNoSpace || extent.CodeOf(err) == extent.CodeNoSpace {
			err = errors.Join(err, stage.Discard()) // another node is to have it, and this one needs the room
		}
		return nil, err
	}
	if !rs.log.View().Runs(o.Attempt()) {
		return nil, fmt.Errorf("operation %s is no longer running under fence %d", o.ID, o.Fence)
	}
	if err := stage.Commit(e.Length, e.Sum); ctx.Err() != nil {
		return nil, errors.Join(ctx.Err(), err) // it waited for its share: what is staged may be sound
	} else if err != nil {
		if extent.CodeOf(err) == extent.CodeCorrupt {
			// It may hold other bytes with good checksums; then it is suspect.
			rs.Verify(ctx, rs.opt.Self, e, o.Source)
		}
		// What is staged is not what the log says, so nothing of it can be trusted for a resume.
		return nil, errors.Join(fmt.Errorf("copy of extent %d from %s: %w", e.ID, o.Source, err), stage.Discard())
	}
	rs.opt.Verified(e.ID)
	return &state.Finish{Outcome: state.OutcomeDone}, nil
}

// fill reads the missing rest from the source.
func (rs *Replicas) fill(ctx context.Context, o *state.Op, e *state.Extent, stage *extent.Stage, share diskshare.Copy) error {
	if stage.Len() == e.Length {
		return nil
	}
	conn, err := rs.reach.opt.ToNode(ctx, o.Source)
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
		p, err := rs.reach.Recv(stream)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if stage.Len()+uint64(len(p)) > e.Length {
			return fmt.Errorf("%s sent more of extent %d than its %d bytes", o.Source, e.ID, e.Length)
		}
		if err := rs.opt.TakeSpace(wire.OpReplicaRead, len(p)); err != nil {
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
