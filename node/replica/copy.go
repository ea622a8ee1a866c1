package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/datanode/datanode/node/diskshare"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// copier carries out repairs and moves: it makes a whole replica here, from the source that the start names.
//
// Goal: the copy of a large extent goes as fast as the disks let it while no client is served, slows no client down
// else, and starts anew for nothing that a restart, a broken connection or another source can cause.
//
// Invariants:
//   - What counts as a replica has the length and the sum that the log has. Bytes are compared with that as a whole
//     before the file is put in its place, whoever sent them, and whatever an earlier attempt has staged. They are
//     summed as they are written, by the same pass that makes the records' checksums; what an earlier attempt has
//     staged is read for it.
//   - A staged file is never read from: until it is committed it has another name, and the log does not list this node.
//   - A source checks, before it reads, that the operation runs under the caller's fence, and that it is named as the
//     source or holds a whole replica; it verifies each record before it sends it.
//   - What fails to compare is discarded, since nothing says which part of it is wrong. All else that is staged is
//     kept for the next attempt, except with a full disk: another node is to have the extent then.
//
// Order:
//
//  1. Space and the fence: the store refuses a stage under a lower fence than this extent has seen.
//  2. The rest that is missing is read from the source, at the pace that the cell allows, in pieces that leave
//     clients their share of the disk. While one is written the next are on their way: the window of the stream. If
//     the source breaks, rots, is called down or falls silent, another whole replica goes on where it stopped.
//  3. Once more: the operation still runs under this fence, so the state still wants the file.
//  4. Commit: compare, fsync, rename, fsync of the folder.
//  5. The finish is reported, and only with that entry is this node a holder. A node that fails in between has a file
//     that the log does not know: its next attempt finds it, or the comparison at its next start.
//
// Rejected: the source pushing to the target. A target that is behind the log could not say so before the bytes come,
// nor how much of them an earlier attempt has left it. Rejected: leaving the sharing of the disk to the kernel; see
// "Why do copies rest at the disk" in docs/rationale.md.
type copier struct {
	id        state.NodeID
	store     Store
	log       Log
	logger    *slog.Logger
	reach     *Reachability
	disk      *diskshare.Shares
	memory    *Memory
	pace      *diskshare.Pace
	suspects  *suspects
	takeSpace func(op wire.OpType, bytes int) error
	verify    func(ctx context.Context, e *state.Extent, node state.NodeID) // has a replica read in full
	verified  func(state.ExtentID)
}

// copy is one attempt. It goes on where an earlier one stopped.
func (c *copier) copy(ctx context.Context, o *state.Op) (*state.Finish, error) {
	view := c.log.View()
	e := view.Extent(o.Extent)
	if e == nil || !e.Copyable(o.Kind) {
		return nil, fmt.Errorf("extent %d is not sealed", o.Extent)
	}
	if err := c.takeSpace(wire.OpReplicaRead, 0); err != nil {
		return nil, err
	}
	done, err := c.memory.ToWrite(ctx)
	if err != nil {
		return nil, err // the operation was ended while this waited
	}
	defer done()
	stage, err := c.store.StageFor(extent.ID(e.ID), extent.Fence(o.Fence), extent.Birth(e.Birth()), e.Length)
	if err != nil {
		return nil, err
	}
	defer stage.Close()
	share := c.disk.Copy(view, e)
	stage.Pace(func(piece func() error) error { return share.Do(ctx, piece) })
	if stage.Len() > e.Length {
		if err := stage.Truncate(e.Length); err != nil {
			return nil, err
		}
	}
	read, err := c.fill(ctx, o, e, stage, share)
	if err != nil {
		if wire.CodeOf(err) == wire.CodeNoSpace || extent.CodeOf(err) == extent.CodeNoSpace {
			err = errors.Join(err, stage.Discard()) // another node is to have it, and this one needs the space
		}
		return nil, err
	}
	if !c.log.View().Runs(o.Attempt()) {
		return nil, fmt.Errorf("operation %s is no longer running under fence %d", o.ID, o.Fence)
	}
	if err := stage.Commit(e.Length, e.Sum); ctx.Err() != nil {
		return nil, errors.Join(ctx.Err(), err) // it waited for its share: what is staged may be sound
	} else if err != nil {
		return nil, c.differs(ctx, read, e, stage, err)
	}
	c.verified(e.ID)
	return &state.Finish{Outcome: state.OutcomeDone}, nil
}

// differs ends an attempt whose bytes are not what the log has, so that nothing of them can be trusted for a resume.
func (c *copier) differs(
	ctx context.Context, read []state.NodeID, e *state.Extent, stage *extent.Stage, err error,
) error {
	if extent.CodeOf(err) == extent.CodeCorrupt {
		for _, source := range read {
			c.verify(ctx, e, source) // it may hold other bytes with good checksums; then it is suspect
		}
	}
	return errors.Join(fmt.Errorf("copy of extent %d from %v: %w", e.ID, read, err), stage.Discard())
}

// appendShared adds p, in the pieces and with the syncs that leave clients their share of the disk.
func appendShared(ctx context.Context, stage *extent.Stage, share diskshare.Copy, p []byte) error {
	for len(p) > 0 {
		piece := p[:share.Piece(len(p))]
		if err := share.Do(ctx, func() error { return stage.Append(piece) }); err != nil {
			return err
		}
		p = p[len(piece):]
		if share.Yields() && !stage.Direct() && stage.Unsynced() >= diskshare.SyncBytes {
			if err := share.Do(ctx, stage.Sync); err != nil {
				return err
			}
		}
	}
	return nil
}
