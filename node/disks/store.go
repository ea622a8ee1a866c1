package disks

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
)

// The methods of a store, for all disks together. Each promises what that of extent.Store does, and fails with
// CodeDiskFailed for what is on a disk that was given up.

type nothing struct{}

func failing(f func(*extent.Store) error) func(*extent.Store) (nothing, error) {
	return func(s *extent.Store) (nothing, error) { return nothing{}, f(s) }
}

// Create makes an empty extent on a disk with room.
func (d *Disks) Create(id extent.ID, fence extent.Fence, birth extent.Birth) error {
	_, err := place(d, placing{op: "create", id: id, fence: fence}, failing(func(s *extent.Store) error {
		return s.Create(id, fence, birth)
	}))
	return err
}

// RaiseFence is durable on the disk that has the extent, or that would get it.
func (d *Disks) RaiseFence(id extent.ID, fence extent.Fence) error {
	_, err := place(d, placing{op: "raise fence", id: id, fence: fence, small: true}, failing(func(s *extent.Store) error {
		return s.RaiseFence(id, fence)
	}))
	return err
}

// Stage begins to copy a replica, or goes on with it: in the place of one that is here, or on a disk with room.
func (d *Disks) Stage(id extent.ID, fence extent.Fence, birth extent.Birth) (*extent.Stage, error) {
	return d.StageFor(id, fence, birth, 0)
}

// StageFor is Stage for a replica of so many bytes: one that is new here goes to a disk that has room for all of it.
func (d *Disks) StageFor(
	id extent.ID, fence extent.Fence, birth extent.Birth, bytes uint64,
) (*extent.Stage, error) {
	p := placing{op: "stage", id: id, fence: fence, anew: true, bytes: bytes}
	return place(d, p, func(s *extent.Store) (*extent.Stage, error) { return s.Stage(id, fence, birth) })
}

// Append makes bytes durable on the disk that has the extent. When that hangs, the parts may not change afterwards.
func (d *Disks) Append(id extent.ID, fence extent.Fence, offset uint64, parts ...[]byte) error {
	if k := d.alone(); k != nil { // the way of every put
		return k.store.Append(id, fence, offset, parts...)
	}
	k, err := d.holding("append", id)
	if err != nil {
		return err
	}
	bytes := 0
	for _, p := range parts {
		bytes += len(p)
	}
	if err := k.takes(id, bytes); err != nil {
		return err
	}
	_, err = guarded(k, func() (nothing, error) { return nothing{}, k.store.Append(id, fence, offset, parts...) })
	return err
}

// Stream begins to append pieces to an extent.
func (d *Disks) Stream(id extent.ID, fence extent.Fence, offset uint64) (*extent.Stream, error) {
	return change(d, "stream", id, func(s *extent.Store) (*extent.Stream, error) { return s.Stream(id, fence, offset) })
}

// Acknowledge notes how much of an extent is acknowledged.
func (d *Disks) Acknowledge(id extent.ID, n uint64) {
	if k, err := d.holding("acknowledge", id); err == nil {
		k.store.Acknowledge(id, n)
	}
}

// Seal fixes the length of a replica.
func (d *Disks) Seal(id extent.ID, length uint64) error {
	_, err := change(d, "seal", id, failing(func(s *extent.Store) error { return s.Seal(id, length) }))
	return err
}

// SealSum is Seal that reads all of it.
func (d *Disks) SealSum(id extent.ID, length uint64) (uint32, error) {
	return change(d, "seal", id, func(s *extent.Store) (uint32, error) { return s.SealSum(id, length) })
}

// Punch gives back what deleted ranges of a sealed replica take on its disk.
func (d *Disks) Punch(id extent.ID, birth extent.Birth, deleted []extent.Range) (more bool, err error) {
	return change(d, "punch", id, func(s *extent.Store) (bool, error) { return s.Punch(id, birth, deleted) })
}

// Shrinks says what a replica's file takes on its disk, and about what it would take once it was rewritten; false also
// where its disk is drained: the copy on another has no need of it.
func (d *Disks) Shrinks(id extent.ID, birth extent.Birth, deleted []extent.Range) (now, then int64, ok bool) {
	k, err := d.holding("shrinks", id)
	if err != nil || k.draining.Load() {
		return 0, 0, false
	}
	return k.store.Shrinks(id, birth, deleted)
}

// Rewrite makes the file of a replica anew, on the disk that has it, without what is deleted. One on a disk that is
// drained is left alone (CodeUnsupported).
func (d *Disks) Rewrite(id extent.ID, r extent.Rewrite) (extent.Rewritten, error) {
	return asked(d, "rewrite", id, func(k *disk) (extent.Rewritten, error) {
		if k.draining.Load() {
			return extent.Rewritten{}, &extent.Error{Op: "rewrite", Code: extent.CodeUnsupported, ID: id,
				Detail: k.String() + " is being drained"}
		}
		_, then, ok := k.store.Shrinks(id, r.Birth, r.Deleted)
		if room := k.space.Status(); ok && room.Total > 0 && (room.Refuses != "" || uint64(then) > room.Free) {
			return extent.Rewritten{}, &extent.Error{Op: "rewrite", Code: extent.CodeNoSpace, ID: id,
				Detail: fmt.Sprintf("it takes about %s beside the old file, and there is room for %s",
					state.UnitsText(uint64(then)), state.UnitsText(room.Free))}
		}
		return guarded(k, func() (extent.Rewritten, error) { return k.store.Rewrite(id, r) })
	})
}

// Drop removes what the disks that work have of an extent. What one has that was given up is as gone as that disk: were
// it to come back, the node would find a file that no state explains, and put it into quarantine before it serves.
func (d *Disks) Drop(id extent.ID) error {
	if k := d.alone(); k != nil {
		return k.store.Drop(id)
	}
	order := &d.order[uint64(id)%uint64(len(d.order))]
	order.Lock()
	defer order.Unlock()
	for _, k := range d.disks() {
		if !k.works() || k.store.Trace(id) < extent.TraceStaged {
			continue
		}
		_, err := guarded(k, func() (nothing, error) { return nothing{}, k.store.Drop(id) })
		if err != nil && k.works() {
			return err
		}
	}
	return nil
}

// ForgetFence drops the fences of an extent that is gone for good.
func (d *Disks) ForgetFence(id extent.ID) error {
	var errs []error
	for _, k := range d.disks() {
		if k.works() && k.store.Trace(id) == extent.TraceFence {
			_, err := guarded(k, func() (nothing, error) { return nothing{}, k.store.ForgetFence(id) })
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Quarantine moves a replica aside, on the disk that has it.
func (d *Disks) Quarantine(id extent.ID, why string) error {
	_, err := change(d, "quarantine", id, failing(func(s *extent.Store) error { return s.Quarantine(id, why) }))
	return err
}

// CheckBirth refuses a replica of another extent of the same number. One that is not here passes.
func (d *Disks) CheckBirth(id extent.ID, birth extent.Birth) error {
	k, _ := d.best(id)
	return k.store.CheckBirth(id, birth)
}

// Stat says what is known of a replica here.
func (d *Disks) Stat(id extent.ID) (extent.Info, error) {
	return asked(d, "stat", id, func(k *disk) (extent.Info, error) { return k.store.Stat(id) })
}

// Hint says what a catalogue says of a replica that nobody has used yet.
func (d *Disks) Hint(id extent.ID) (extent.Hint, bool) {
	k, _ := d.best(id)
	return k.store.Hint(id)
}

// ReadAt reads and verifies bytes.
func (d *Disks) ReadAt(id extent.ID, p []byte, off uint64) (n int, err error) {
	err = d.read("read", id, func(s *extent.Store) error { n, err = s.ReadAt(id, p, off); return err })
	return n, err
}

// ReadSum is ReadAt, and the sum of the bytes.
func (d *Disks) ReadSum(id extent.ID, p []byte, off uint64) (n int, sum uint32, err error) {
	err = d.read("read", id, func(s *extent.Store) error { n, sum, err = s.ReadSum(id, p, off); return err })
	return n, sum, err
}

// ReadParts reads and verifies bytes where they are in buf.
func (d *Disks) ReadParts(id extent.ID, buf []byte, n, off uint64) (v extent.Verified, err error) {
	err = d.read("read", id, func(s *extent.Store) error { v, err = s.ReadParts(id, buf, n, off); return err })
	return v, err
}

// Sum reads and sums a replica.
func (d *Disks) Sum(id extent.ID, length uint64) (sum uint32, err error) {
	err = d.read("sum", id, func(s *extent.Store) error { sum, err = s.Sum(id, length); return err })
	return sum, err
}

// Scrub reads a replica from the disk.
func (d *Disks) Scrub(
	id extent.ID, birth extent.Birth, length uint64, pace func(bytes int) error,
) (sum uint32, err error) {
	err = d.read("scrub", id, func(s *extent.Store) error { sum, err = s.Scrub(id, birth, length, pace); return err })
	return sum, err
}

// ScrubDisk is Scrub that reads what the disk has, and not what is in the system's cache.
func (d *Disks) ScrubDisk(
	id extent.ID, birth extent.Birth, length uint64, pace func(bytes int) error,
) (sum uint32, err error) {
	err = d.read("scrub", id, func(s *extent.Store) error { sum, err = s.ScrubDisk(id, birth, length, pace); return err })
	return sum, err
}

// Written is when the file of a replica was last written, zero where nobody can tell.
func (d *Disks) Written(id extent.ID) time.Time {
	k, _ := d.best(id)
	return k.store.Written(id)
}

// read reads a replica: on a disk that was given up too while that answers, for it may be the last. What it answers is
// true, since all is verified; what it does not says nothing of the replica.
func (d *Disks) read(op string, id extent.ID, do func(*extent.Store) error) error {
	_, err := d.holding(op, id)
	if err == nil {
		_, err = asked(d, op, id, func(k *disk) (nothing, error) { return nothing{}, do(k.store) })
		return err
	}
	lost := d.loser(id)
	if lost == nil || lost.store == nil || lost.isHung() {
		return err
	}
	if bad := do(lost.store); bad != nil {
		return errors.Join(err, errors.New(bad.Error())) // its code is not to be found: see CodeOf
	}
	return nil
}

// IDs lists the extents of which a disk that works has a replica, ascending.
func (d *Disks) IDs() []extent.ID { return d.gather((*extent.Store).IDs) }

// Staged lists those that have a staging file, ascending.
func (d *Disks) Staged() []extent.ID { return d.gather((*extent.Store).Staged) }

// Bare lists those of which a disk has nothing but a fence, ascending.
func (d *Disks) Bare() []extent.ID { return d.gather((*extent.Store).Bare) }

func (d *Disks) gather(of func(*extent.Store) []extent.ID) (ids []extent.ID) {
	if k := d.alone(); k != nil {
		return of(k.store)
	}
	for _, k := range d.disks() {
		if k.works() {
			ids = append(ids, of(k.store)...)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
