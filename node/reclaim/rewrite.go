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
	if w.gain == 0 || len(e.Ops) > 0 || e.Damaged {
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
	for e := r.most(view); e != nil; e = r.most(view) {
		l := r.looked[e.ID]
		l.rewrite.gain = r.weigh(view, e) // it may have been rewritten since
		if gain := l.rewrite.gain; gain > 0 {
			l.rewrite.again = r.opt.Clock.Now().Add(AskAgain)
			var err error
			if l.rewrite.asked, err = r.opt.AskRewrite(ctx, e.ID); err != nil {
				r.opt.Logger.Info("no turn to rewrite a replica", "extent", uint64(e.ID), "would-give-back", gain, "error", err)
			}
			r.looked[e.ID] = l
			return
		}
		r.looked[e.ID] = l
	}
}

// most is the extent whose rewrite would give back most of those that may be asked for, nil for none.
func (r *Reclaimer) most(view *state.View) (most *state.Extent) {
	now := r.opt.Clock.Now()
	for id, l := range r.looked {
		e := view.Extent(id)
		if e == nil || !l.rewrite.may(view, e, now) {
			continue
		}
		gain := l.rewrite.gain
		if most == nil || gain > r.looked[most.ID].rewrite.gain || gain == r.looked[most.ID].rewrite.gain && id < most.ID {
			most = e
		}
	}
	return most
}
