package datapath

import (
	"context"
	"sync"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/quota"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

const (
	// OpenPerTenant is how many open extents a node fills for each tenant, and so appends to in parallel.
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

	mu       sync.Mutex
	byID     map[state.ExtentID]*appender // Guarded by mu.
	byTenant map[quota.Tenant][]*appender // Guarded by mu. Those that puts share.
	making   map[quota.Tenant]int         // Guarded by mu. Extents that are being created for byTenant.
	made     chan struct{}                // Guarded by mu. Closed and replaced whenever one of those has ended.
	// Invariant: len(byTenant[t]) + making[t] <= OpenPerTenant.
	creating int // Guarded by mu. Extents that are being created. Invariant: len(byID) + creating <= maxOpenExtents.
}

// appender appends to one open extent. Its lock makes appends to the extent follow each other.
type appender struct {
	extent *state.Extent // as it was when this node began to append; the epoch never changes
	meter  *quota.Meter
	turn   chan struct{} // holds one token: who has it, appends

	offset uint64 // Owned by the holder of turn. Invariant: every byte below is durable on all replicas.
	broken error  // Owned by the holder of turn. Why nothing more may be appended.
	idle   int    // Owned by the holder of turn. Looks of appenders.sealIdle since the last append.
}

func newAppenders(o *Options, c *creator, b *background) *appenders {
	return &appenders{
		o: o, creator: c, background: b, byID: map[state.ExtentID]*appender{},
		byTenant: map[quota.Tenant][]*appender{}, making: map[quota.Tenant]int{}, made: make(chan struct{}),
	}
}

// shared is an appender for a small put, its turn taken: one that is free, else a new extent while
// there are fewer than OpenPerTenant, else the first that becomes free.
func (a *appenders) shared(ctx context.Context, t quota.Tenant) (*appender, error) {
	for {
		a.mu.Lock()
		if ap := freeOf(a.byTenant[t]); ap != nil {
			a.mu.Unlock()
			return ap, nil
		}
		list, made := a.byTenant[t], a.made
		if len(list)+a.making[t] < OpenPerTenant && (len(list) == 0 || a.o.Quotas.MayCreate(t)) {
			a.making[t]++ // or each of a hundred callers at once would make an extent
			a.mu.Unlock()
			ap, err := a.createShared(ctx, t)
			if len(list) > 0 && wire.CodeOf(err) == wire.CodeQuota {
				continue // the leader counts more extents than this node; those that are there take turns
			}
			return ap, err
		}
		a.mu.Unlock()
		ap, err := firstFree(ctx, list, made)
		if ap != nil || err != nil {
			return ap, err
		}
	}
}

// firstFree waits for the first appender that becomes free, its turn taken; nil when made is closed before, or when
// the one that became free takes no more.
func firstFree(ctx context.Context, list []*appender, made chan struct{}) (*appender, error) {
	var turns [OpenPerTenant]chan struct{} // those beyond the list are nil, and never ready
	for i, ap := range list {
		turns[i] = ap.turn
	}
	var ap *appender
	select {
	case <-turns[0]:
		ap = list[0]
	case <-turns[1]:
		ap = list[1]
	case <-turns[2]:
		ap = list[2]
	case <-turns[3]:
		ap = list[3]
	case <-made:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if ap.broken != nil { // it has been retired meanwhile
		ap.turn <- struct{}{}
		return nil, nil
	}
	return ap, nil
}

// freeOf is an appender that nobody uses, its turn taken, or nil.
func freeOf(list []*appender) *appender {
	for _, ap := range list {
		select {
		case <-ap.turn:
			return ap
		default:
		}
	}
	return nil
}

// createShared makes an extent in the place that the caller has counted in making.
func (a *appenders) createShared(ctx context.Context, t quota.Tenant) (*appender, error) {
	ap, err := a.create(ctx, t)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.making[t]--; a.making[t] == 0 {
		delete(a.making, t)
	}
	close(a.made)
	a.made = make(chan struct{})
	if err == nil {
		a.byTenant[t] = append(a.byTenant[t], ap)
	}
	return ap, err
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
	a.mu.Unlock()
	return ap, ap.take(ctx)
}

// locator is where bytes are that were appended, and on how many disks: on all of the extent's.
func (ap *appender) locator(offset, length uint64) wire.Locator {
	e := ap.extent
	return wire.Locator{
		Extent: uint64(e.ID), Offset: offset, Length: length, Birth: e.Birth(), Disks: uint8(len(e.Replicas)), Want: e.Want,
	}
}

// take waits for the appender's turn.
func (ap *appender) take(ctx context.Context) error {
	select {
	case <-ap.turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
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
	ap.turn <- struct{}{}
}

// discard gives the turn back and has the extent deleted: nothing in it was acknowledged.
func (a *appenders) discard(ap *appender, why error) {
	ap.broken = why
	a.retire(ap)
	a.o.Quotas.Drop(ap.extent.ID)
	a.background.askDelete(ap.extent.ID)
	ap.turn <- struct{}{}
}

func (a *appenders) retire(ap *appender) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.byID, ap.extent.ID)
	var rest []*appender
	t := quota.TenantOf(ap.extent)
	for _, other := range a.byTenant[t] {
		if other != ap {
			rest = append(rest, other)
		}
	}
	if a.byTenant[t] = rest; len(rest) == 0 {
		delete(a.byTenant, t) // classes are the callers' to name
	}
}
