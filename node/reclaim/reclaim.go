// Package reclaim gives a node's disk back what deleted ranges of extents take there.
//
// The operation log says what is deleted, and from then on nobody reads it. When each disk gets its room back is up to
// its node and agreed on with nobody: some seconds after the deletes of an extent have come to rest, and at once
// when there is much. What a restart cuts short is gone on with: the store knows what it has punched.
//
// A punch gives whole blocks back. Where a rewrite of the replica would give back much more, the node asks the cell for
// the turn to do that, for one replica at a time: see rewrite.go.
//
// A Reclaimer has one goroutine, Run's; Sweep may be called from others.
package reclaim

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
)

const (
	// Look is how long it takes between two looks at what has been deleted.
	Look = 2 * time.Second
	// muchBytes are punched without waiting for an extent's deletes to come to rest.
	muchBytes = 16 << 20
	// restParts is how many times as long as a punch took is waited for after it, and busyRestParts while clients are
	// served: nobody reads an extent while it is punched.
	restParts, busyRestParts = 1, 4
)

// Store is what is punched: see extent.Store.
type Store interface {
	// Punch does a part of it at once, durably, and reports whether there is more to do. It may be asked for what has
	// been punched.
	Punch(id extent.ID, birth extent.Birth, deleted []extent.Range) (more bool, err error)
	// Shrinks says what a replica's file takes on the disk, and about what it would take once it was rewritten.
	Shrinks(id extent.ID, birth extent.Birth, deleted []extent.Range) (now, then int64, ok bool)
	// Failed is why nothing is written any more, nil while it is.
	Failed() error
}

// Options of a Reclaimer.
type Options struct {
	ID     state.NodeID
	Store  Store
	Clock  clock.Clock
	Logger *slog.Logger
	Ready  <-chan struct{}    // closed when the node has caught up with its log
	View   func() *state.View // what the log says
	Busy   func() bool        // whether clients are served right now
	// AskRewrite asks the cell for the turn to rewrite the replica of an extent, and says which operation that is.
	AskRewrite func(ctx context.Context, id state.ExtentID) (state.OpID, error)
}

// Reclaimer punches what is deleted.
type Reclaimer struct {
	opt Options

	mu     sync.Mutex
	looked map[state.ExtentID]look // Guarded by mu. Of extents of which something is deleted.
	warned bool                    // Guarded by mu. A file system gives nothing back, and that was said.
}

// look is what was known of an extent at the last sweep.
type look struct {
	birth   uint32
	deleted uint64 // bytes
	punched uint64 // of them; the others were deleted since
	rewrite weighed
}

// New makes a reclaimer. Nothing is punched before it runs.
func New(o Options) *Reclaimer { return &Reclaimer{opt: o} }

// Run sweeps again and again until ctx ends.
func (r *Reclaimer) Run(ctx context.Context) {
	select {
	case <-r.opt.Ready:
	case <-ctx.Done():
		return
	}
	for {
		if r.Sweep(ctx); ctx.Err() != nil {
			return
		}
		select {
		case <-r.opt.Clock.After(Look):
		case <-ctx.Done():
			return
		}
	}
}

// Sweep goes over the extents of which something is deleted, and punches those of which nothing more was since the last
// sweep, or much.
func (r *Reclaimer) Sweep(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.opt.Store.Failed() != nil {
		return
	}
	view, was := r.opt.View(), r.looked
	r.looked = map[state.ExtentID]look{}
	view.EachPunched(func(e *state.Extent) bool {
		if held, ok := e.Replica(r.opt.ID); !ok || held.State != state.ReplicaWhole ||
			e.State != state.ExtentSealed || e.Hollow() {
			return true
		}
		now := look{birth: e.Birth(), deleted: e.Punched}
		last, known := was[e.ID]
		if known && last.birth == now.birth {
			now.punched, now.rewrite = last.punched, last.rewrite
		}
		rests := known && last.birth == now.birth && last.deleted == now.deleted
		if now.punched < now.deleted && (rests || now.deleted-now.punched >= muchBytes) &&
			r.punch(ctx, view, e) {
			now.punched = now.deleted
		}
		if w := &now.rewrite; rests && now.punched == now.deleted && w.deleted != now.deleted {
			w.deleted, w.gain = now.deleted, r.weigh(view, e)
		}
		r.looked[e.ID] = now
		return ctx.Err() == nil
	})
	if ctx.Err() == nil {
		r.ask(ctx, view)
	}
}

// deletedOf is what is deleted of an extent.
func deletedOf(view *state.View, e *state.Extent) (deleted []extent.Range) {
	view.Holes(e.ID, 0, func(from, to uint64) bool {
		deleted = append(deleted, extent.Range{From: from, To: to})
		return true
	})
	return deleted
}

// punch punches all that is deleted of an extent, and reports whether it has, or never will.
func (r *Reclaimer) punch(ctx context.Context, view *state.View, e *state.Extent) bool {
	deleted := deletedOf(view, e)
	for {
		began := r.opt.Clock.Now()
		more, err := r.opt.Store.Punch(extent.ID(e.ID), extent.Birth(e.Birth()), deleted)
		switch {
		case extent.CodeOf(err) == extent.CodeUnsupported:
			if !r.warned {
				r.opt.Logger.Warn("the room that deleted objects take does not come back before their extents are deleted: "+
					"the file system of the store gives nothing back of a file", "extent", e.ID, "error", err)
			}
			r.warned = true
			return true
		case err != nil:
			r.opt.Logger.Debug("not punched", "extent", e.ID, "error", err)
			return false
		}
		r.rest(ctx, r.opt.Clock.Now().Sub(began))
		if !more || ctx.Err() != nil {
			return !more
		}
	}
}

// rest leaves the disk to others after it was used for so long.
func (r *Reclaimer) rest(ctx context.Context, used time.Duration) {
	parts := time.Duration(restParts)
	if r.opt.Busy() {
		parts = busyRestParts
	}
	select {
	case <-r.opt.Clock.After(parts * used):
	case <-ctx.Done():
	}
}
