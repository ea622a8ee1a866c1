package datapath

import (
	"context"
	"slices"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// IdleLooks is after how many looks in a row without an append a shared extent is sealed. A look comes every
// Options.IdleLook.
const IdleLooks = 10

// watch keeps the open extents that this node appends to as few as the log says: one that somebody else has sealed
// or deleted gives its place back at once, one that nobody has put to for long is sealed.
func (a *appenders) watch(ctx context.Context) {
	look := a.o.Clock.After(a.o.IdleLook)
	for {
		changed := a.o.Log.Changed()
		a.forgetEnded(a.o.Log.View())
		select {
		case <-changed:
			select { // entries come in bursts; one look covers many
			case <-a.o.Clock.After(a.o.Tick):
			case <-ctx.Done():
				return
			}
		case <-look:
			a.sealIdle()
			look = a.o.Clock.After(a.o.IdleLook)
		case <-ctx.Done():
			return
		}
	}
}

// forgetEnded lets go of the extents that are not open any more.
func (a *appenders) forgetEnded(view *state.View) {
	a.mu.Lock()
	var ended []*appender
	for id, ap := range a.byID {
		if e := view.Extent(id); e == nil || e.State != state.ExtentOpen {
			ended = append(ended, ap)
		}
	}
	a.mu.Unlock()
	for _, ap := range ended {
		a.retire(ap)
	}
	a.o.Quotas.Prune()
}

// sealIdle seals the shared extents that nothing was appended to for IdleLooks looks, and deletes those that are empty.
func (a *appenders) sealIdle() {
	a.mu.Lock()
	var shared []*appender
	for _, l := range a.lanes {
		shared = append(shared, l.open...)
	}
	a.mu.Unlock()
	slices.SortFunc(shared, func(x, y *appender) int { return int(x.extent.ID) - int(y.extent.ID) })
	for _, ap := range shared {
		select {
		case <-ap.turn:
		default:
			continue // in use
		}
		ap.idle++
		why := wire.Errorf(wire.OpAppend, wire.CodePrecondition, "extent %d was idle and is being sealed", ap.extent.ID)
		switch {
		case ap.idle < IdleLooks || ap.broken != nil:
			a.giveTurn(ap)
		case ap.offset == 0:
			a.discard(ap, why)
		default:
			ap.broken = why
			a.release(ap, true)
		}
	}
}

// open is how many extents this node appends to.
func (a *appenders) open() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.byID) + a.creating
}
