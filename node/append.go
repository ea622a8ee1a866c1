package node

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/quota"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

const (
	openPerTenant  = 4                // open extents that this node fills for each tenant, and so appends in parallel
	sealAtBytes    = 64 << 20         // an extent that has grown past this takes no more puts
	appendPiece    = 1 << 20          // one append; also the largest put that shares an extent
	maxOpenExtents = quota.MaxExtents // that this node is the primary of
)

// appenders are the open extents that this node is the primary of and appends to.
type appenders struct {
	n *Node

	wanted chan asked // Invariant: sends never block

	mu       sync.Mutex
	byID     map[state.ExtentID]*appender // Guarded by mu.
	byTenant map[quota.Tenant][]*appender // Guarded by mu. Those that puts share.
	making   map[quota.Tenant]int         // Guarded by mu. Extents that are being created for byTenant.
	made     chan struct{}                // Guarded by mu. Closed and replaced whenever one of those has ended.
	// Invariant: len(byTenant[t]) + making[t] <= openPerTenant.
	reserved int // Guarded by mu. Extents that are being created. Invariant: len(byID) + reserved <= maxOpenExtents.
}

// appender appends to one open extent. Its lock makes appends to the extent follow each other.
type appender struct {
	extent *state.Extent // as it was when this node began to append; the epoch never changes
	meter  *quota.Meter
	turn   chan struct{} // holds one token: who has it, appends

	offset uint64 // Owned by the holder of turn. Invariant: every byte below is durable on all replicas.
	broken error  // Owned by the holder of turn. Why nothing more may be appended.
	idle   int    // Owned by the holder of turn. Looks of appenders.tidy since the last append.
}

func newAppenders(n *Node) *appenders {
	return &appenders{
		n: n, wanted: make(chan asked, 2*maxOpenExtents), byID: map[state.ExtentID]*appender{}, byTenant: map[quota.Tenant][]*appender{},
		making: map[quota.Tenant]int{}, made: make(chan struct{}),
	}
}

// shared is an appender for a small put, its turn taken: one that is free, else a new extent while
// there are fewer than openPerTenant, else the first that becomes free.
func (a *appenders) shared(ctx context.Context, t quota.Tenant) (*appender, error) {
	for {
		a.mu.Lock()
		if ap := freeOf(a.byTenant[t]); ap != nil {
			a.mu.Unlock()
			return ap, nil
		}
		list, made := a.byTenant[t], a.made
		if len(list)+a.making[t] < openPerTenant && (len(list) == 0 || a.n.quotas.MayCreate(t)) {
			a.making[t]++ // or each of a hundred callers at once would make an extent
			a.mu.Unlock()
			ap, err := a.createShared(ctx, t)
			if len(list) > 0 && wire.CodeOf(err) == wire.CodeQuota {
				continue // the leader knows of more extents than this node; those that are there take turns
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
	var turns [openPerTenant]chan struct{} // those beyond the list are nil, and never ready
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
	if err := a.reserve(wire.OpPut); err != nil {
		return nil, err
	}
	e, err := a.n.createExtent(ctx, t)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reserved--
	if err != nil {
		return nil, err
	}
	ap := &appender{extent: e, meter: a.n.quotas.Open(e), turn: make(chan struct{}, 1)}
	a.byID[e.ID] = ap
	return ap, nil
}

// reserve takes a place among the open extents. Whoever has it either fills it or gives it back.
func (a *appenders) reserve(op wire.OpType) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.byID)+a.reserved >= maxOpenExtents {
		return wire.Errorf(op, wire.CodeExhausted, "%s has %d open extents already", a.n.id, maxOpenExtents)
	}
	a.reserved++
	return nil
}

// named is the appender of an extent that the caller names, with its turn taken.
func (a *appenders) named(ctx context.Context, e *state.Extent) (*appender, error) {
	a.mu.Lock()
	ap := a.byID[e.ID]
	if ap == nil {
		info, err := a.n.store.Stat(extent.ID(e.ID))
		if err != nil {
			a.mu.Unlock()
			return nil, err
		}
		if len(a.byID)+a.reserved >= maxOpenExtents {
			a.mu.Unlock()
			return nil, wire.Errorf(wire.OpAppend, wire.CodeExhausted, "%s has %d open extents already", a.n.id, maxOpenExtents)
		}
		if info.Length > 0 {
			a.mu.Unlock()
			return nil, wire.Errorf(wire.OpAppend, wire.CodePrecondition, "extent %d was open when %s restarted, or an append to it has failed: it is being sealed; append to another", e.ID, a.n.id)
		}
		ap = &appender{extent: e, meter: a.n.quotas.Open(e), turn: make(chan struct{}, 1)}
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
func (a *appenders) release(ctx context.Context, ap *appender, full bool) {
	if full || ap.broken != nil || ap.offset >= sealAtBytes {
		if ap.broken == nil {
			ap.broken = wire.Errorf(wire.OpAppend, wire.CodePrecondition, "extent %d is full and being sealed", ap.extent.ID)
		}
		a.retire(ap)
		a.ask(policies.KindSeal, ap.extent.ID)
	}
	ap.turn <- struct{}{}
}

// discard gives the turn back and has the extent deleted: nothing in it was acknowledged.
func (a *appenders) discard(ap *appender, why error) {
	ap.broken = why
	a.retire(ap)
	a.n.quotas.Drop(ap.extent.ID)
	a.ask(policies.KindDelete, ap.extent.ID)
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

// append makes p durable on all replicas, or breaks the appender: after a failure nobody knows what
// the replicas hold beyond offset, and only a seal finds out. The caller has the turn. by is what the bytes were
// reserved by, nil if they only move.
func (n *Node) append(ctx context.Context, ap *appender, by *quota.Reservation, p []byte) (offset uint64, err error) {
	if ap.broken != nil {
		return 0, ap.broken
	}
	view := n.log.View()
	if e := view.Extent(ap.extent.ID); e == nil || !e.Fit() {
		ap.broken = wire.Errorf(wire.OpAppend, wire.CodePrecondition, "extent %d is no longer open, or one of its replicas is damaged", ap.extent.ID)
		return 0, ap.broken
	}
	if on, least := len(ap.extent.Replicas), view.Settings.Least(ap.extent.Want); on < least { // the setting was raised
		ap.broken = wire.Errorf(wire.OpAppend, wire.CodePrecondition,
			"extent %d is on %d disks, and puts must be on %d (min-replicas): it is being sealed; append to another", ap.extent.ID, on, least)
		return 0, ap.broken
	}
	// An append that has begun is not cut short when its caller goes away: that would break the
	// extent for everybody else.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.time.stepLimit)
	defer cancel()
	if err := n.disk.Take(wire.OpAppend, len(p)); err != nil {
		return 0, err // nothing was written: the extent is as sound as it was
	}
	epoch, at := ap.extent.Epoch, ap.offset
	errs := n.hang.unlessStuck(ap.extent, func(node state.NodeID) error {
		if node == n.id {
			return n.store.Append(extent.ID(ap.extent.ID), extent.Fence(epoch), at, p)
		}
		_, err := n.others.Step(ctx, node, mux.Request{
			Op: wire.OpReplicaAppend, Session: wire.SessionAppend, Fence: uint64(epoch), MinIndex: uint64(epoch),
			Body: &wire.ReplicaAppend{Extent: uint64(ap.extent.ID), Offset: at, Birth: ap.extent.Birth()}, Raw: p,
		})
		return err
	})
	for node, err := range errs {
		if err != nil {
			ap.broken = wire.Errorf(wire.OpAppend, wire.CodeUnavailable, "append to extent %d on %s: %v", ap.extent.ID, node, err)
			return 0, ap.broken
		}
	}
	ap.idle = 0
	n.disks.Client()
	offset = ap.offset
	ap.offset += uint64(len(p))
	by.Stored(ap.meter, ap.offset, len(p))
	n.store.Acknowledge(extent.ID(ap.extent.ID), ap.offset)
	return offset, nil
}

// reportPause is the pause before something is asked of the cell again.
const reportPause = 100 * time.Millisecond

// createExtent makes an extent with this node as its primary. A create that fails, because a node that was to
// have a replica does not answer, is followed by another.
func (n *Node) createExtent(ctx context.Context, t quota.Tenant) (*state.Extent, error) {
	patient, cancel := context.WithTimeout(ctx, n.time.createPatience)
	defer cancel()
	for pause := reportPause; ; pause *= 2 {
		e, failed, err := n.createOnce(patient, t)
		switch {
		case err == nil:
			return e, nil
		case patient.Err() != nil && ctx.Err() == nil:
			return nil, wire.Errorf(wire.OpPut, wire.CodeUnavailable, "no extent to write to within %v: %v", n.time.createPatience, err)
		case !failed:
			return nil, err
		}
		select {
		case <-n.after(pause):
		case <-patient.Done():
		}
	}
}

// createOnce runs a create through the log and waits for it. failed tells that it was admitted and has failed.
func (n *Node) createOnce(ctx context.Context, t quota.Tenant) (e *state.Extent, failed bool, err error) {
	notHere := wire.Errorf(wire.OpPut, wire.CodeUnavailable, "%s takes no new extents now; ask another node", n.id)
	if self := n.log.View().Node(n.id); self == nil || !self.Takes() {
		return nil, false, notHere
	}
	if err := cmp.Or(n.hangs(), n.cutOff()); err != nil {
		return nil, false, err
	}
	want := wire.Submission{Kind: policies.KindCreate.String(), Class: t.Class, Owner: string(t.Owner), Primary: string(n.id)}
	for _, id := range n.others.Failing() {
		want.Avoid = append(want.Avoid, string(id))
	}
	res, err := n.own.submit(ctx, want)
	if err != nil {
		return nil, false, elsewhere(err)
	}
	id, err := state.ParseOpID(res.Op)
	if err != nil {
		return nil, false, err
	}
	o, err := n.waitEnded(ctx, id)
	if err != nil {
		n.appends.askFor(asked{policies.KindDelete, state.ExtentID(res.Extent), id}) // nobody will write to it
		return nil, false, err
	}
	if err := n.checkMadeBy(o, state.ExtentID(res.Extent)); err != nil {
		return nil, false, elsewhere(err)
	}
	e = n.log.View().Extent(o.Extent)
	if o.State != state.OpDone || e == nil {
		return nil, true, wire.Errorf(wire.OpPut, wire.CodeUnavailable, "no extent to write to: create %s %s: %s", o.ID, o.State, o.Detail)
	}
	if e.Primary() != n.id { // this node ceased to take extents just now
		n.appends.askFor(asked{policies.KindDelete, e.ID, id})
		return nil, false, notHere
	}
	return e, false, nil
}

// waitEnded waits until this node has applied the end of an operation.
func (n *Node) waitEnded(ctx context.Context, id state.OpID) (*state.Op, error) {
	if err := n.log.WaitApplied(ctx, id.Index()); err != nil {
		return nil, err
	}
	for {
		changed := n.log.Changed()
		o := n.log.View().Op(id)
		switch {
		case o == nil:
			return nil, wire.Errorf(wire.OpWait, wire.CodeNotFound, "operation %s is unknown, or ended long ago; see log ls", id)
		case o.State.Ended():
			return o, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("operation %s is still %s: %w", id, o.State, ctx.Err())
		}
	}
}
