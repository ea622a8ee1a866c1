package disks

import (
	"errors"
	"fmt"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/wire"
)

// best is the working disk that has most of an extent; the first disk if none has any.
func (d *Disks) best(id extent.ID) (best *disk, most extent.Trace) {
	best = d.first
	for _, k := range d.disks() {
		if !k.works() {
			continue
		}
		trace := k.store.Trace(id)
		if trace > most || trace == most && trace > extent.TraceNone && best.draining.Load() && !k.draining.Load() {
			best, most = k, trace
		}
	}
	return best, most
}

// Lost reports whether this node cannot say what it has of an extent: no disk that works has a replica of it, and one
// that was given up has, or may have.
func (d *Disks) Lost(id extent.ID) bool {
	if d.alone() != nil {
		return false
	}
	_, trace := d.best(id)
	return trace != extent.TraceHeld && d.loser(id) != nil
}

// AnyLost reports whether a disk was given up.
func (d *Disks) AnyLost() bool {
	for _, k := range d.disks() {
		if !k.isFirst() && !k.works() {
			return true
		}
	}
	return false
}

// loser is the disk that was given up with an extent, or may have been; nil for none.
func (d *Disks) loser(id extent.ID) (may *disk) {
	for _, k := range d.disks() {
		switch {
		case k.works():
		case k.store == nil:
			may = k
		case k.store.Trace(id) == extent.TraceHeld:
			return k
		}
	}
	return may
}

func lostError(op string, id extent.ID, k *disk) error {
	detail := fmt.Sprintf("%s was given up; read another replica", k)
	if k.store == nil {
		detail = fmt.Sprintf("its file may be on %s, which was given up; read another replica", k)
	}
	return &extent.Error{Op: op, Code: extent.CodeDiskFailed, ID: id, Detail: detail, Err: k.err()}
}

// moved is the disk to ask after one has answered with an error: the extent was moved away from it meanwhile. It is nil
// if it was not.
func (d *Disks) moved(id extent.ID, from *disk) *disk {
	if d.alone() != nil || !from.works() || from.store.Trace(id) == extent.TraceHeld {
		return nil
	}
	if k, trace := d.best(id); trace == extent.TraceHeld && k != from {
		return k
	}
	return nil
}

// asked asks the disk of an extent that should be here; once more where it was moved to if that was done meanwhile.
func asked[T any](d *Disks, op string, id extent.ID, ask func(*disk) (T, error)) (T, error) {
	k, err := d.holding(op, id)
	if err != nil {
		var none T
		return none, err
	}
	v, err := ask(k)
	for err != nil {
		if k = d.moved(id, k); k == nil {
			break
		}
		v, err = ask(k)
	}
	return v, err
}

// holding is the disk to ask about an extent that should be here.
func (d *Disks) holding(op string, id extent.ID) (*disk, error) {
	if k := d.alone(); k != nil {
		return k, nil
	}
	k, trace := d.best(id)
	if trace == extent.TraceHeld {
		return k, nil
	}
	if lost := d.loser(id); lost != nil {
		return nil, lostError(op, id, lost)
	}
	return k, nil
}

// highest is the highest fence of an extent that any store knows.
func (d *Disks) highest(id extent.ID) (f extent.Fence) {
	for _, k := range d.disks() {
		if k.store != nil {
			f = max(f, k.store.Fence(id))
		}
	}
	return f
}

// placing is what may make something of an extent on a disk.
type placing struct {
	op    string
	id    extent.ID
	fence extent.Fence
	small bool   // it must fit whatever the disks say: a fence
	anew  bool   // it is to take the place of what is there: elsewhere, if the disk of that is drained
	bytes uint64 // that it will take, as far as anybody knows
}

// place does something on the disk of an extent, or on the one that it gets. One at a time for an extent.
func place[T any](d *Disks, p placing, do func(*extent.Store) (T, error)) (T, error) {
	var none T
	if k := d.alone(); k != nil {
		return do(k.store)
	}
	order := &d.order[uint64(p.id)%uint64(len(d.order))]
	order.Lock()
	defer order.Unlock()
	if highest := d.highest(p.id); p.fence < highest {
		return none, &extent.Error{Op: p.op, Code: extent.CodeStaleFence, ID: p.id, Want: uint64(highest),
			Have: uint64(p.fence), Detail: fmt.Sprintf("fence %d is below %d", p.fence, highest)}
	}
	k, trace := d.best(p.id)
	if trace == extent.TraceNone || k.draining.Load() && (trace < extent.TraceHeld || p.anew) {
		var err error
		if k, err = d.elsewhere(p); err != nil && p.small {
			k = d.first // never one that is drained
		} else if err != nil {
			return none, err
		}
	}
	return guarded(k, func() (T, error) { return do(k.store) })
}

// elsewhere is the disk for something new of an extent: one that takes any, and that with something of it staged
// before all others, so that there is one copy at a time.
func (d *Disks) elsewhere(p placing) (*disk, error) {
	for _, k := range d.disks() {
		if k.works() && !k.draining.Load() && k.store.Trace(p.id) >= extent.TraceStaged {
			return k, nil
		}
	}
	return d.pick(p)
}

// pick is the disk for a new extent: one of those that take any, as likely as it has room.
func (d *Disks) pick(p placing) (*disk, error) {
	var takers []*disk
	var errs []error
	var total uint64
	room := func(k *disk) uint64 { return max(k.space.Status().Free>>20, 1) }
	for _, k := range d.disks() {
		if !k.works() || k.draining.Load() {
			continue
		}
		if err := k.space.Take(wire.OpReplicaCreate, 0); err != nil {
			errs = append(errs, err)
			continue
		}
		if s := k.space.Status(); s.Total > 0 && s.Free < p.bytes {
			errs = append(errs, fmt.Errorf("%s has room for %d bytes, not %d", k.id, s.Free, p.bytes))
			continue
		}
		takers, total = append(takers, k), total+room(k)
	}
	if len(takers) == 0 {
		return nil, &extent.Error{Op: p.op, Code: extent.CodeNoSpace, ID: p.id,
			Detail: "no disk of this node takes anything", Err: errors.Join(errs...)}
	}
	at := scatter(uint64(p.id)) % total
	for _, k := range takers {
		if n := room(k); at < n {
			return k, nil
		} else {
			at -= n
		}
	}
	return takers[0], nil // the room has become less meanwhile
}

// scatter spreads consecutive numbers over all (the finalizer of splitmix64).
func scatter(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// guarded does something on a disk. On a further one it waits no longer than until that is given up: f goes on then.
func guarded[T any](k *disk, f func() (T, error)) (T, error) {
	if k.isFirst() {
		return f()
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-k.gone:
	}
	select {
	case r := <-done: // both were there
		return r.value, r.err
	default:
	}
	var none T
	return none, &extent.Error{Op: "write", Code: extent.CodeDiskFailed, Detail: k.String() + " was given up",
		Err: k.err()}
}

// change does something that changes an extent, on the disk that has it.
func change[T any](d *Disks, op string, id extent.ID, do func(*extent.Store) (T, error)) (T, error) {
	return asked(d, op, id, func(k *disk) (T, error) { return guarded(k, func() (T, error) { return do(k.store) }) })
}
