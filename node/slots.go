package node

import (
	"context"
	"slices"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// idleLooks is after how many looks in a row without an append a shared extent is sealed. A look comes every idleLook,
// so that is ten to eleven minutes.
const idleLooks = 10

// watch keeps the open extents that this node appends to as few as the log says: one that somebody else has sealed
// or deleted gives its place back at once, one that nobody has put to for long is sealed.
func (a *appenders) watch(ctx context.Context) {
	look := a.n.after(a.n.time.idleLook)
	for {
		changed := a.n.log.Changed()
		a.forgetEnded(a.n.log.View())
		select {
		case <-changed:
			select { // entries come in bursts; one look covers many
			case <-a.n.after(a.n.time.tick):
			case <-ctx.Done():
				return
			}
		case <-look:
			a.tidy(ctx)
			look = a.n.after(a.n.time.idleLook)
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
	a.n.quotas.Prune()
}

// tidy seals the shared extents that nothing was appended to for idleLooks looks, and deletes those that are empty.
func (a *appenders) tidy(ctx context.Context) {
	a.mu.Lock()
	var shared []*appender
	for _, list := range a.byTenant {
		shared = append(shared, list...)
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
		switch why := wire.Errorf(wire.OpAppend, wire.CodePrecondition, "extent %d was idle and is being sealed", ap.extent.ID); {
		case ap.idle < idleLooks || ap.broken != nil:
			ap.turn <- struct{}{}
		case ap.offset == 0:
			a.discard(ap, why)
		default:
			ap.broken = why
			a.release(ctx, ap, true)
		}
	}
}

// open is how many extents this node appends to.
func (a *appenders) open() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.byID) + a.reserved
}
