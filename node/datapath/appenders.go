package datapath

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/quota"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

const (
	// OpenPerTenant is how many open extents a node fills for each tenant at most: one while that is enough, see lane.
	OpenPerTenant = 4
	// AppendBytes is the most that one append takes, and the largest put that shares an extent.
	AppendBytes = 1 << 20

	sealAtBytes    = 64 << 20         // an extent that has grown past this takes no more puts
	maxOpenExtents = quota.MaxExtents // that this node is the primary of
)

// appenders are the open extents that this node is the primary of and appends to.
type appenders struct {
	o          *Options
	creator    *creator
	background *background

	mu    sync.Mutex
	byID  map[state.ExtentID]*appender // Guarded by mu.
	lanes map[quota.Tenant]*lane       // Guarded by mu. Those that puts share, and the puts that wait for them.
	// Guarded by mu. Extents that are being created. Invariant: len(byID) + creating <= maxOpenExtents.
	creating int
}

// appender appends to one open extent. Its lock makes appends to the extent follow each other.
type appender struct {
	extent *state.Extent // as it was when this node began to append; the epoch never changes
	meter  *quota.Meter
	turn   chan struct{} // holds one token: who has it, appends. Given back by appenders.giveTurn.
	wanted int           // Guarded by appenders.mu. Who waits for the turn itself, and so comes before the next batch.
	began  time.Time     // Guarded by appenders.mu. When the turn was last taken to append.

	offset uint64 // Owned by the holder of turn. Invariant: every byte below is durable on all replicas.
	broken error  // Owned by the holder of turn. Why nothing more may be appended.
	idle   int    // Owned by the holder of turn. Looks of appenders.sealIdle since the last append.
}

func newAppenders(o *Options, c *creator, b *background) *appenders {
	return &appenders{
		o: o, creator: c, background: b, byID: map[state.ExtentID]*appender{}, lanes: map[quota.Tenant]*lane{},
	}
}

// laneLocked is the lane of a tenant, which is forgotten once nothing is in it.
func (a *appenders) laneLocked(t quota.Tenant) *lane {
	l := a.lanes[t]
	if l == nil {
		l = &lane{}
		a.lanes[t] = l
	}
	return l
}

// changedLocked is called when a lane has less than before.
func (a *appenders) changedLocked(t quota.Tenant) {
	l := a.lanes[t]
	if l.disband(); len(l.open)+l.making == 0 {
		delete(a.lanes, t) // classes are the callers' to name
		return
	}
	l.goOn(a.o.Clock.Now())
}

// createShared makes an extent in the place that the caller has counted in making, and puts w into a batch. It returns
// what enter does.
func (a *appenders) createShared(ctx context.Context, t quota.Tenant, w *waiting, p []byte) (*appender, *batch, error) {
	ap, err := a.create(ctx, t)
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.lanes[t]
	l.making--
	if err != nil {
		a.changedLocked(t)
		return nil, nil, err
	}
	l.open, ap.began = append(l.open, ap), a.o.Clock.Now()
	l.join(w, p)
	return ap, l.next(), nil
}

// create makes a new extent with this node as its primary, and takes its turn. Its place among the open extents is
// taken first: an extent that then had none would have cost entries of the log for nothing.
func (a *appenders) create(ctx context.Context, t quota.Tenant) (*appender, error) {
	if err := a.takePlace(wire.OpPut); err != nil {
		return nil, err
	}
	e, err := a.creator.create(ctx, t)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.creating--
	if err != nil {
		return nil, err
	}
	ap := &appender{extent: e, meter: a.o.Quotas.Open(e), turn: make(chan struct{}, 1)}
	a.byID[e.ID] = ap
	return ap, nil
}

// takePlace takes a place among the open extents. Whoever has it either fills it or gives it back.
func (a *appenders) takePlace(op wire.OpType) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.byID)+a.creating >= maxOpenExtents {
		return a.tooMany(op)
	}
	a.creating++
	return nil
}

func (a *appenders) tooMany(op wire.OpType) error {
	return wire.Errorf(op, wire.CodeExhausted, "%s has %d open extents already", a.o.ID, maxOpenExtents)
}

// named is the appender of an extent that the caller names, with its turn taken.
func (a *appenders) named(ctx context.Context, e *state.Extent) (*appender, error) {
	a.mu.Lock()
	ap := a.byID[e.ID]
	if ap == nil {
		info, err := a.o.Store.Stat(extent.ID(e.ID))
		if err != nil {
			a.mu.Unlock()
			return nil, err
		}
		if len(a.byID)+a.creating >= maxOpenExtents {
			a.mu.Unlock()
			return nil, a.tooMany(wire.OpAppend)
		}
		if info.Length > 0 {
			a.mu.Unlock()
			return nil, wire.Errorf(wire.OpAppend, wire.CodePrecondition,
				"extent %d was open when %s restarted, or an append to it has failed: it is being sealed; append to another",
				e.ID, a.o.ID)
		}
		ap = &appender{extent: e, meter: a.o.Quotas.Open(e), turn: make(chan struct{}, 1)}
		ap.turn <- struct{}{}
		a.byID[e.ID] = ap
	}
	ap.wanted++
	a.mu.Unlock()
	return ap, a.take(ctx, ap)
}

// locator is where bytes are that were appended, and on how many disks: on all of the extent's.
func (ap *appender) locator(offset, length uint64) wire.Locator {
	e := ap.extent
	return wire.Locator{
		Extent: uint64(e.ID), Offset: offset, Length: length, Birth: e.Birth(), Disks: uint8(len(e.Replicas)), Want: e.Want,
	}
}

// take waits for the turn of an appender, as the caller has counted in wanted.
func (a *appenders) take(ctx context.Context, ap *appender) error {
	var err error
	select {
	case <-ap.turn:
	case <-ctx.Done():
		err = ctx.Err()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	ap.wanted--
	if err == nil {
		ap.began = a.o.Clock.Now()
		return nil
	}
	select {
	case <-ap.turn: // it was given back for the sake of who leaves
		a.giveTurnLocked(ap)
	default:
	}
	return err
}

// giveTurn gives the turn back: to who waits for it, or else to the next batch, if that is not to wait for another.
func (a *appenders) giveTurn(ap *appender) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.giveTurnLocked(ap)
}

func (a *appenders) giveTurnLocked(ap *appender) {
	ap.turn <- struct{}{}
	if l := a.lanes[quota.TenantOf(ap.extent)]; l != nil {
		l.goOn(a.o.Clock.Now())
	}
}

// release gives the turn back, and retires the extent if it is full or broken.
func (a *appenders) release(ap *appender, full bool) {
	if full || ap.broken != nil || ap.offset >= sealAtBytes {
		if ap.broken == nil {
			ap.broken = wire.Errorf(wire.OpAppend, wire.CodePrecondition, "extent %d is full and being sealed", ap.extent.ID)
		}
		a.retire(ap)
		a.background.askSeal(ap.extent.ID)
	}
	a.giveTurn(ap)
}

// discard gives the turn back and has the extent deleted: nothing in it was acknowledged.
func (a *appenders) discard(ap *appender, why error) {
	ap.broken = why
	a.retire(ap)
	a.o.Quotas.Drop(ap.extent.ID)
	a.background.askDelete(ap.extent.ID)
	a.giveTurn(ap)
}

func (a *appenders) retire(ap *appender) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.byID, ap.extent.ID)
	t := quota.TenantOf(ap.extent)
	if l := a.lanes[t]; l != nil {
		l.open = slices.DeleteFunc(l.open, func(other *appender) bool { return other == ap })
		a.changedLocked(t)
	}
}
