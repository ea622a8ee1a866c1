package reclaim

import (
	"context"
	"time"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
)

const (
	// leastGain is what the rewrite of a replica must give the disk back, besides half of what its file takes.
	leastGain = 1 << 20
	// AskAgain is when a node asks once more for a rewrite that has failed, or of which it does not know.
	AskAgain = 10 * time.Minute
)

// weighed is what is known of the rewrite of a replica.
type weighed struct {
	deleted uint64 // how much was, when it was weighed
	gain    int64  // about what it would give back; 0: too little
	asked   state.OpID
	again   time.Time // not to be asked for until then, unless what was asked has ended and not failed
}

// weigh says about what the rewrite of a replica would give back, 0 if that is not worth it.
func (r *Reclaimer) weigh(view *state.View, e *state.Extent) int64 {
	now, then, ok := r.opt.Store.Shrinks(extent.ID(e.ID), extent.Birth(e.Birth()), deletedOf(view, e))
	if gain := now - then; ok && gain >= leastGain && gain >= now/2 {
		return gain
	}
	return 0
}

// may reports whether a rewrite may be asked for now.
func (w weighed) may(view *state.View, e *state.Extent, now time.Time) bool {
	if w.gain == 0 || len(e.Ops) > 0 {
		return false
	}
	if o := view.Op(w.asked); o != nil && o.State.Ended() && o.State != state.OpFailed && o.State != state.OpRejected {
		return true
	}
	return !now.Before(w.again)
}

// ask asks for the rewrite that gives back most, unless one of this node is open.
func (r *Reclaimer) ask(ctx context.Context, view *state.View) {
	if !view.AllReach(state.LevelRewritten) || view.Rewrites(r.opt.ID) {
		return
	}
	var best *state.Extent
	for id, l := range r.looked {
		e := view.Extent(id)
		if e == nil || !l.rewrite.may(view, e, r.opt.Clock.Now()) {
			continue
		}
		if best == nil || l.rewrite.gain > r.looked[best.ID].rewrite.gain ||
			l.rewrite.gain == r.looked[best.ID].rewrite.gain && id < best.ID {
			best = e
		}
	}
	if best == nil {
		return
	}
	l := r.looked[best.ID]
	if l.rewrite.gain = r.weigh(view, best); l.rewrite.gain > 0 { // it may have been rewritten since
		l.rewrite.again = r.opt.Clock.Now().Add(AskAgain)
		var err error
		if l.rewrite.asked, err = r.opt.AskRewrite(ctx, best.ID); err != nil {
			r.opt.Logger.Info("no rewrite of a replica", "extent", uint64(best.ID), "would-give-back", l.rewrite.gain,
				"error", err)
		}
	}
	r.looked[best.ID] = l
}
