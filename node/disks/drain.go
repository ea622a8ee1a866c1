package disks

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/diskshare"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

const (
	// drainLook is how long it takes until a disk that cannot be emptied further is looked at again.
	drainLook = time.Second
	// sealsAtOnce bounds the seals of open extents that are asked for in one look, and sealAgain is after how long that of
	// the same extent is asked for once more.
	sealsAtOnce = 16
	sealAgain   = 30 * time.Second
	// rateOver is for how long moves are counted for the rate that is shown.
	rateOver = 10 * time.Second
)

// Change carries out what a person wants done with a disk. It is remembered before anything follows from it.
func (d *Disks) Change(id, change string) (wire.Disk, error) {
	refuse := func(code wire.Code, format string, args ...any) (wire.Disk, error) {
		return wire.Disk{}, wire.Errorf(wire.OpDiskChange, code, format, args...)
	}
	k := d.byID(id)
	drain := change == wire.DiskDrain
	switch {
	case !slices.Contains(wire.DiskChanges(), change):
		return refuse(wire.CodeInvalid, "this build of %s cannot %q a disk", d.o.Node, change)
	case k == nil:
		return refuse(wire.CodeNotFound, "%s has no disk %s; see datanode disk ls --node %s", d.o.Node, id, d.o.Node)
	case k == d.first:
		return refuse(wire.CodeInvalid, "%s of %s has the operation log and can be neither drained nor replaced; "+
			"to empty the whole node, use datanode node decommission %s", id, d.o.Node, d.o.Node)
	case change == wire.DiskReplace:
		return d.replace(k)
	case drain && !k.works():
		return refuse(wire.CodeInvalid, "%s of %s was given up (%v): what it had is repaired already", id, d.o.Node, k.err())
	}
	if err := d.setDraining(k, drain); err != nil {
		return refuse(wire.CodeUnavailable, "nothing was done: %v", err)
	}
	d.mu.Lock()
	d.tellLocked()
	d.mu.Unlock()
	return d.describe(k), nil
}

// replace takes a disk out that is drained, or was given up and has nothing any more that the cell counts on.
func (d *Disks) replace(k *disk) (wire.Disk, error) {
	now := d.describe(k)
	if k.works() && !k.drained.Load() {
		return now, wire.Errorf(wire.OpDiskChange, wire.CodeConflict,
			"%s of %s works and is not drained: use datanode disk drain %s %s first", k.id, d.o.Node, d.o.Node, k.id)
	}
	if !k.works() {
		var held []state.ExtentID
		if d.o.Counted != nil {
			held = d.o.Counted()
		}
		if len(held) > 0 {
			return now, wire.Errorf(wire.OpDiskChange, wire.CodeConflict, "%d extents of %s are not repaired elsewhere yet, "+
				"or have their last replica on %s, extent %d first; wait for the repairs, bring the disk back, or delete them",
				len(held), d.o.Node, k.id, held[0])
		}
	}
	d.listMu.Lock()
	defer d.listMu.Unlock()
	next := d.list.clone()
	at := slices.IndexFunc(next.Disks, func(r remembered) bool { return r.Key == k.key })
	if at < 0 {
		return now, wire.Errorf(wire.OpDiskChange, wire.CodeNotFound, "%s was taken out already", k.id)
	}
	next.Gone = append(next.Gone, next.Disks[at])
	next.Disks = slices.Delete(next.Disks, at, at+1)
	if err := next.write(d.o.FS, d.o.Dir); err != nil {
		return now, wire.Errorf(wire.OpDiskChange, wire.CodeUnavailable, "nothing was done: %v", err)
	}
	d.list = next
	left := slices.DeleteFunc(slices.Clone(d.disks()), func(x *disk) bool { return x == k })
	d.all.Store(&left)
	d.out = append(d.out, k)
	d.mu.Lock()
	d.tellLocked()
	d.mu.Unlock()
	now.State, now.Why, now.Blocked = wire.DiskGone, "", ""
	d.o.Logger.Warn("a disk is taken out for good: its folder is not taken any more", "disk", k.id, "dir", k.dir)
	return now, nil
}

func (d *Disks) byID(id string) *disk {
	for _, k := range d.disks() {
		if k.id == id {
			return k
		}
	}
	return nil
}

// setDraining remembers whether a disk is drained, then acts on it.
func (d *Disks) setDraining(k *disk, draining bool) error {
	d.listMu.Lock()
	defer d.listMu.Unlock()
	next := d.list.clone()
	was := next.find(func(r remembered) bool { return r.Key == k.key })
	if was == nil {
		return fmt.Errorf("%s does not list %s", ListFile, k.id)
	}
	if was.Draining != draining {
		was.Draining = draining
		if err := next.write(d.o.FS, d.o.Dir); err != nil {
			return err
		}
		d.list = next
	}
	if k.draining.Swap(draining) != draining {
		k.drained.Store(false)
		k.progress.begin()
	}
	return nil
}

// progress is how far the drain of a disk has come.
type progress struct {
	mu       sync.Mutex
	moved    uint64    // bytes since it began, or since this start. Guarded by mu.
	blocked  string    // why something cannot be moved now; empty: it can. Guarded by mu.
	since    time.Time // of the rate. Guarded by mu, as are:
	counted  uint64    // bytes since then
	lastRate uint64    // bytes a second in the time before that
}

func (p *progress) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moved, p.blocked, p.since, p.counted, p.lastRate = 0, "", time.Time{}, 0, 0
}

// add notes bytes that were copied.
func (p *progress) add(bytes int, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turnLocked(now)
	p.moved, p.counted = p.moved+uint64(bytes), p.counted+uint64(bytes)
}

func (p *progress) turnLocked(now time.Time) {
	if past := now.Sub(p.since); past >= rateOver {
		p.lastRate = uint64(float64(p.counted) / past.Seconds())
		p.since, p.counted = now, 0
	}
}

func (p *progress) describe(out *wire.Disk, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turnLocked(now)
	out.Moved, out.Blocked = p.moved, p.blocked
	past := now.Sub(p.since).Seconds()
	if out.Rate = p.lastRate; past >= 1 {
		out.Rate = max(out.Rate, uint64(float64(p.counted)/past))
	}
}

func (p *progress) block(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blocked = why
}

// DrainOptions are what a Drainer needs of its node. All must be set.
type DrainOptions struct {
	Disks  *Disks
	Ready  <-chan struct{} // closed once the node has compared its disks with the log
	View   func() *state.View
	Clock  clock.Clock
	Logger *slog.Logger
	Share  *diskshare.Shares
	Pace   func(ctx context.Context, bytes int) error // holds copies to what the cell allows
	Memory func(context.Context) (done func(), err error)
	// AskSeal asks the cell for the seal of an extent, in the background.
	AskSeal func(state.ExtentID)
	// Damaged reports that the replica here is not what the log has.
	Damaged func(id state.ExtentID, why string)
	// Unread reports that it could not be read.
	Unread func(e *state.Extent, err error)
	// Verified notes that it was written just now, and is what the log has.
	Verified func(state.ExtentID)
}

// Drainer empties the disks that are to be drained onto the others of the node. Run is its one goroutine.
type Drainer struct {
	o     DrainOptions
	disks *Disks
	asked map[state.ExtentID]time.Time // of seals; Run's
}

// NewDrainer makes a drainer. Nothing is moved before it runs.
func NewDrainer(o DrainOptions) *Drainer {
	return &Drainer{o: o, disks: o.Disks, asked: map[state.ExtentID]time.Time{}}
}

// Run moves what is on disks that are drained, until ctx ends.
func (m *Drainer) Run(ctx context.Context) {
	select {
	case <-m.o.Ready:
	case <-ctx.Done():
		return
	}
	for ctx.Err() == nil {
		changed := m.disks.Changed()
		for _, k := range m.disks.disks() {
			if k.draining.Load() && k.works() {
				m.look(ctx, k)
			}
		}
		select {
		case <-changed:
		case <-m.o.Clock.After(drainLook):
		case <-ctx.Done():
		}
	}
}

// look moves what can be moved of one disk, and notes what cannot.
func (m *Drainer) look(ctx context.Context, k *disk) {
	blocked, left := "", 0
	stays := func(why string) {
		if left++; blocked == "" {
			blocked = why
		}
	}
	seals := sealsAtOnce
	for _, id := range k.store.IDs() {
		if ctx.Err() != nil || !k.draining.Load() || !k.works() {
			return
		}
		e := m.o.View().Extent(state.ExtentID(id))
		if e != nil && e.State == state.ExtentOpen && seals > 0 && m.askSeal(e.ID) {
			seals--
		}
		why := m.unmovable(e, id)
		if why == "" {
			if err := m.move(ctx, k, e); err != nil {
				why = fmt.Sprintf("extent %d: %v", id, err)
			}
		}
		if why != "" {
			stays(why)
		}
	}
	for _, id := range k.store.Staged() {
		if why := m.unstage(k, id); why != "" {
			stays(why)
		}
	}
	if left == 0 {
		if err := m.moveFences(k); err != nil {
			stays(err.Error())
		}
	}
	if ctx.Err() != nil || !k.draining.Load() || !k.works() {
		return
	}
	k.progress.block(blocked)
	if drained := left == 0; k.drained.Swap(drained) != drained && drained {
		m.o.Logger.Info("a disk is drained: it has nothing any more that counts", "disk", k.id, "dir", k.dir)
	}
}

// unmovable is why a replica cannot be moved now; empty if it can.
func (m *Drainer) unmovable(e *state.Extent, id extent.ID) string {
	if e == nil {
		return fmt.Sprintf("extent %d waits to be removed", id)
	}
	r, holds := e.Replica(m.disks.o.Node)
	switch {
	case !holds:
		return fmt.Sprintf("extent %d waits to be removed, or for the end of a copy", id)
	case e.State == state.ExtentOpen:
		return fmt.Sprintf("extent %d is open: the cell was asked to seal it", id)
	case !e.Final():
		return fmt.Sprintf("extent %d waits to be made or removed", id)
	case r.State != state.ReplicaWhole || e.Damaged:
		return fmt.Sprintf("the replica of extent %d is damaged and waits for its repair; see datanode extent show %d",
			id, id)
	}
	view := m.o.View()
	for _, op := range e.Ops {
		if o := view.Op(op); o != nil && o.Copies() && o.Target == m.disks.o.Node {
			return fmt.Sprintf("extent %d is being copied here", id)
		}
	}
	return ""
}

// askSeal asks for the seal of an open extent, and reports whether it was time to.
func (m *Drainer) askSeal(id state.ExtentID) bool {
	now := m.o.Clock.Now()
	if at, ok := m.asked[id]; ok && now.Sub(at) < sealAgain {
		return false
	}
	for old, at := range m.asked {
		if now.Sub(at) >= sealAgain {
			delete(m.asked, old)
		}
	}
	m.asked[id] = now
	m.o.AskSeal(id)
	return true
}

// unstage removes what a copy has left on a disk that is drained. One that runs was begun before, and may end.
func (m *Drainer) unstage(k *disk, id extent.ID) (why string) {
	d := m.disks
	order := &d.order[uint64(id)%uint64(len(d.order))]
	order.Lock()
	defer order.Unlock()
	if k.store.Trace(id) != extent.TraceStaged {
		return ""
	}
	view := m.o.View()
	if e := view.Extent(state.ExtentID(id)); e != nil {
		for _, op := range e.Ops {
			if o := view.Op(op); o != nil && o.Copies() && o.Target == d.o.Node {
				return fmt.Sprintf("extent %d is being copied there", id)
			}
		}
	}
	if _, err := guarded(k, func() (nothing, error) { return nothing{}, k.store.Drop(id) }); err != nil {
		return err.Error()
	}
	return ""
}

// moveFences has another disk know the fences that only a disk which is drained knows.
func (m *Drainer) moveFences(k *disk) error {
	d, view := m.disks, m.o.View()
	var alone []extent.ID
	for _, id := range k.store.Bare() {
		if state.ExtentID(id) < view.NextExtent && view.Extent(state.ExtentID(id)) == nil {
			continue // the cell has forgotten it, and so may we
		}
		if k.store.Fence(id) > d.highestBut(id, k) {
			alone = append(alone, id)
		}
	}
	const together = 64 // they share a sync
	for some := range slices.Chunk(alone, together) {
		errs := make(chan error, len(some))
		for _, id := range some {
			go func() { errs <- d.RaiseFence(id, max(k.store.Fence(id), d.highest(id))) }()
		}
		for range some {
			if err := <-errs; err != nil && extent.CodeOf(err) != extent.CodeStaleFence {
				return fmt.Errorf("its fences cannot be moved: %w", err)
			}
		}
	}
	for _, id := range alone {
		if k.store.Fence(id) > d.highestBut(id, k) {
			return fmt.Errorf("the fence of extent %d is not moved yet", id)
		}
	}
	return nil
}

// highestBut is the highest fence of an extent that any disk which stays knows.
func (d *Disks) highestBut(id extent.ID, but *disk) (f extent.Fence) {
	for _, k := range d.disks() {
		if k != but && k.works() && !k.draining.Load() {
			f = max(f, k.store.Fence(id))
		}
	}
	return f
}
