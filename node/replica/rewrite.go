package replica

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/datanode/datanode/node/diskshare"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
)

// rewriter rewrites replicas of this node of which much is deleted, when the log gives the turn: see extent.Rewrite.
// Clients come before it at the disk. What is deleted meanwhile is left to the next.
type rewriter struct {
	id     state.NodeID
	store  Store
	log    Log
	logger *slog.Logger
	disk   *diskshare.Shares
	unread func(e *state.Extent, node state.NodeID, err error)

	rewrites  atomic.Uint64 // that were done
	gaveBack  atomic.Uint64 // bytes of the disk
	abandoned atomic.Uint64 // attempts
}

// rewrite is one attempt.
func (w *rewriter) rewrite(ctx context.Context, o *state.Op) (*state.Finish, error) {
	view := w.log.View()
	e := view.Extent(o.Extent)
	if e == nil || e.State != state.ExtentSealed || o.Node != w.id {
		return nil, &finalError{fmt.Errorf("extent %d has no sealed replica here", o.Extent)}
	}
	share := w.disk.Behind()
	r := extent.Rewrite{
		Fence: extent.Fence(o.Fence), Birth: extent.Birth(e.Birth()), Length: e.Length, Sum: &e.Sum,
		Pace: func(piece func() error) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return share.Do(ctx, piece)
		},
	}
	view.Holes(e.ID, 0, func(from, to uint64) bool {
		r.Deleted = append(r.Deleted, extent.Range{From: from, To: to})
		return true
	})
	done, err := w.store.Rewrite(extent.ID(e.ID), r)
	if err == nil {
		w.rewrites.Add(1)
		w.gaveBack.Add(uint64(max(0, done.Before-done.After)))
		w.logger.Info("replica rewritten without what is deleted", "extent", uint64(e.ID), "op", o.ID.String(),
			"disk-bytes-before", done.Before, "disk-bytes-after", done.After)
		return &state.Finish{Outcome: state.OutcomeDone, Detail: fmt.Sprintf(
			"rewritten without what is deleted: the file took %s on the disk, now %s",
			state.UnitsText(uint64(done.Before)), state.UnitsText(uint64(done.After)))}, nil
	}
	w.abandoned.Add(1)
	if ctx.Err() != nil {
		return nil, err
	}
	switch extent.CodeOf(err) {
	case extent.CodeCorrupt: // another attempt reads the same
		w.unread(e, w.id, err)
		return nil, &finalError{err}
	case extent.CodeUnsupported, extent.CodeNoSpace, extent.CodeChanged: // the node asks again when that is over
		return nil, &finalError{err}
	}
	return nil, err
}

// Rewrites is how many replicas of this node were rewritten since the start, what that gave back of the disk, and how
// many attempts came to nothing.
func (rs *Replicas) Rewrites() (done, bytes, abandoned uint64) {
	return rs.rewriter.rewrites.Load(), rs.rewriter.gaveBack.Load(), rs.rewriter.abandoned.Load()
}
