package disks

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/datanode/datanode/node/diskshare"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

const (
	// movePiece is how much is read and written at once. A multiple of movePart: see the invariants of a move.
	movePiece = 256 << 10
	movePart  = 64 << 10
)

// move is the move of one sealed replica from a disk that is drained to another of the node.
//
// Goal: at every moment, and after a crash at any, the node has the replica whole, and what was acknowledged of it.
//
// Invariants:
//   - Only what the log has as sealed is moved, from a replica that it counts as whole. So the bytes do not change
//     while they are copied, but for punches; an open extent is sealed first.
//   - The copy counts, is read and takes changes only from its Commit on, which has compared length and sum with the
//     log. From then on there are two, of the same bytes, and the one on the disk that stays counts (best). After a
//     crash in between the copy counts as well: it was made under the highest fence that the node knew, and the older
//     one goes to quarantine (settleDoubles).
//   - The old file is removed last. Under order, so that nothing new of the extent begins meanwhile, its disk
//     must still have it and the other disk must too; all fences that the node knows of it are raised there first.
//   - A delete wins: Drop ends the stage, or removes both files. A repair wins: it begins only where the log has
//     the replica as suspect, and then no move begins; one that was begun is ended by the repair's stage, which is on
//     the same disk (elsewhere), or is refused here before its Commit.
//   - What was punched stays deleted: the copy has zeros there that have the sums of what they replace, as between
//     nodes. It is read in whole parts of movePart, of which each has one sum however far it is punched. These ranges
//     of the copy are not read from its Commit on (Hide), and it is punched before the old file goes.
//
// Rejected: links or renames. The disks are different file systems. Rejected: to have the cell repair it, which takes
// the replica away first.
type move struct {
	m        *Drainer
	from, to *disk
	e        *state.Extent
	id       extent.ID
	stage    *extent.Stage
	share    diskshare.Copy
}

// endedError ends a move for good: something else became of the extent, or of the drain.
type endedError struct{ why string }

func (e *endedError) Error() string { return e.why }

// move moves one replica, or ends a move that a crash has cut off.
func (m *Drainer) move(ctx context.Context, from *disk, e *state.Extent) error {
	v := &move{m: m, from: from, e: e, id: extent.ID(e.ID), share: m.o.Share.Behind()}
	if v.to = m.disks.beside(v.id, from); v.to != nil {
		if err := v.compare(); err != nil {
			return err
		}
		return v.handOver()
	}
	done, err := m.o.Memory(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := v.begin(); err != nil {
		return err
	}
	defer v.close()
	if err := v.fill(ctx); err != nil {
		return v.failed(ctx, err)
	}
	if err := v.commit(ctx); err != nil {
		return v.failed(ctx, err)
	}
	m.o.Verified(e.ID)
	return v.handOver()
}

// beside is a disk that has a replica of an extent as well and stays; nil for none.
func (d *Disks) beside(id extent.ID, from *disk) *disk {
	for _, k := range d.disks() {
		if k != from && k.works() && !k.draining.Load() && k.store.Trace(id) == extent.TraceHeld {
			return k
		}
	}
	return nil
}

// compare makes sure that a copy which is there already is what the log has.
func (v *move) compare() error {
	sum, err := v.to.store.Sum(v.id, v.e.Length)
	if err != nil {
		v.m.o.Unread(v.e, err)
		return err
	}
	if sum != v.e.Sum {
		why := fmt.Sprintf("its %d bytes on %s have sum %s, not %s", v.e.Length, v.to.id, wire.SumText(sum),
			wire.SumText(v.e.Sum))
		v.m.o.Damaged(v.e.ID, why)
		return errors.New(why)
	}
	return nil
}

// begin begins the copy, unless something else is done with the extent.
func (v *move) begin() error {
	d := v.m.disks
	order := &d.order[uint64(v.id)%uint64(len(d.order))]
	order.Lock()
	defer order.Unlock()
	if err := v.still(); err != nil {
		return err
	}
	to, err := d.elsewhere(placing{op: "move", id: v.id, bytes: v.e.Length})
	if err != nil {
		return err
	}
	v.to, v.stage = to, nil
	fence := d.highest(v.id)
	v.stage, err = guarded(to, func() (*extent.Stage, error) {
		return to.store.Stage(v.id, fence, extent.Birth(v.e.Birth()))
	})
	return err
}

// still is why the extent is not to be moved any more.
func (v *move) still() error {
	if v.from.store.Trace(v.id) != extent.TraceHeld {
		return &endedError{"it is not there any more"}
	}
	if !v.from.draining.Load() {
		return &endedError{"the drain was cancelled"}
	}
	e := v.m.o.View().Extent(v.e.ID)
	if why := v.m.unmovable(e, v.id); why != "" {
		return &endedError{why}
	}
	if e.Birth() != v.e.Birth() || e.Length != v.e.Length || e.Sum != v.e.Sum {
		return &endedError{"the log has changed what it is"}
	}
	return nil
}

// onTarget does something on the disk that is copied to. What it hands over may not be changed after an error.
func (v *move) onTarget(f func() error) error {
	_, err := guarded(v.to, func() (nothing, error) { return nothing{}, f() })
	return err
}

// fill copies what is missing, at the pace that the cell allows, and behind clients.
func (v *move) fill(ctx context.Context) error {
	if have := min(v.stage.Len(), v.e.Length) / movePart * movePart; v.stage.Len() != have && v.stage.Len() != v.e.Length {
		if err := v.onTarget(func() error { return v.stage.Truncate(have) }); err != nil {
			return err
		}
	}
	buf := make([]byte, movePiece)
	for off := v.stage.Len(); off < v.e.Length; {
		if !v.from.draining.Load() {
			return &endedError{"the drain was cancelled"}
		}
		p := buf[:v.share.Piece(int(min(movePiece, v.e.Length-off)))]
		if err := v.m.o.Pace(ctx, len(p)); err != nil {
			return err
		}
		if err := v.to.space.Take(wire.OpReplicaRead, len(p)); err != nil {
			return err
		}
		if err := v.share.Do(ctx, func() error { return v.read(p, off) }); err != nil {
			return err
		}
		if err := v.share.Do(ctx, func() error {
			return v.onTarget(func() error { return v.stage.Append(p) })
		}); err != nil {
			return err
		}
		if v.share.Yields() && !v.stage.Direct() && v.stage.Unsynced() >= diskshare.SyncBytes {
			if err := v.share.Do(ctx, func() error { return v.onTarget(v.stage.Sync) }); err != nil {
				return err
			}
		}
		off += uint64(len(p))
		v.from.progress.add(len(p), v.m.o.Clock.Now())
	}
	return nil
}

// read reads a piece, and reports a replica that cannot be read.
func (v *move) read(p []byte, off uint64) error {
	_, err := guarded(v.from, func() (int, error) { return v.from.store.ReadAt(v.id, p, off) })
	if err == nil || !v.from.works() {
		return err
	}
	if ended := v.still(); ended != nil {
		return ended
	}
	v.m.o.Unread(v.e, err)
	return err
}

// commit makes the copy the replica that counts.
func (v *move) commit(ctx context.Context) error {
	if err := v.still(); err != nil {
		return err
	}
	punched, err := v.from.store.Punched(v.id)
	if err != nil {
		return err
	}
	v.stage.Hide(punched)
	v.stage.Pace(func(piece func() error) error { return v.share.Do(ctx, piece) })
	return v.onTarget(func() error { return v.stage.Commit(v.e.Length, v.e.Sum) })
}

// failed ends a move that has not committed. What is staged is kept for the next attempt where it may be good for one.
func (v *move) failed(ctx context.Context, err error) error {
	differs := extent.CodeOf(err) == extent.CodeCorrupt
	full := extent.CodeOf(err) == extent.CodeNoSpace || wire.CodeOf(err) == wire.CodeNoSpace
	if ended := (*endedError)(nil); ctx.Err() != nil || !v.to.works() || !differs && !full && !errors.As(err, &ended) {
		return err
	}
	if gone := v.onTarget(v.stage.Discard); gone != nil && extent.CodeOf(gone) != extent.CodeClosed {
		err = errors.Join(err, gone) // else another copy of the extent has taken the stage over
	}
	if !differs || v.still() != nil {
		return err
	}
	// Each record that was read is sound, or reading it has said so: it is the whole that differs.
	sum, bad := v.from.store.Sum(v.id, v.e.Length)
	if bad != nil {
		v.m.o.Unread(v.e, bad)
	} else if sum != v.e.Sum {
		v.m.o.Damaged(v.e.ID, fmt.Sprintf("its %d bytes have sum %s, not %s", v.e.Length, wire.SumText(sum),
			wire.SumText(v.e.Sum)))
	}
	return err
}

func (v *move) close() {
	_ = v.onTarget(v.stage.Close) // what is staged is found again, or made anew
}

// handOver removes the old file, once all that is known of the extent is known on the disk that stays.
func (v *move) handOver() error {
	given, err := v.punchAlike(nil)
	if err != nil {
		return err
	}
	d := v.m.disks
	order := &d.order[uint64(v.id)%uint64(len(d.order))]
	order.Lock()
	defer order.Unlock()
	if v.from.store.Trace(v.id) != extent.TraceHeld {
		return nil // deleted meanwhile, or put aside
	}
	if v.to.store.Trace(v.id) != extent.TraceHeld || !v.to.works() {
		return fmt.Errorf("its copy on %s is not there any more", v.to.id)
	}
	if highest := d.highest(v.id); highest > v.to.store.Fence(v.id) {
		if err := v.onTarget(func() error { return v.to.store.RaiseFence(v.id, highest) }); err != nil {
			return err
		}
	}
	if _, err := v.punchAlike(given); err != nil {
		return err
	}
	_, err = guarded(v.from, func() (nothing, error) { return nothing{}, v.remove() })
	return err
}

// punchAlike punches the copy as the old file is, unless that was done. It answers what was punched.
func (v *move) punchAlike(done []extent.Range) ([]extent.Range, error) {
	punched, err := v.from.store.Punched(v.id)
	if extent.CodeOf(err) == extent.CodeNotFound {
		return nil, nil // deleted, or put aside
	}
	if err != nil || slices.Equal(punched, done) {
		return punched, err
	}
	for more := true; more; {
		more, err = guarded(v.to, func() (bool, error) {
			return v.to.store.Punch(v.id, extent.Birth(v.e.Birth()), punched)
		})
		if extent.CodeOf(err) == extent.CodeUnsupported {
			return punched, nil // they stay hidden
		}
		if err != nil {
			return nil, err
		}
	}
	return punched, nil
}

// remove removes the old file. One that is not what it should be is put aside, as a repair does that replaces it.
func (v *move) remove() error {
	info, err := v.from.store.Stat(v.id)
	if err != nil {
		return err
	}
	if info.Broken != "" || v.from.store.CheckBirth(v.id, extent.Birth(v.e.Birth())) != nil {
		return v.from.store.Quarantine(v.id, fmt.Sprintf("%s has the replica that counts", v.to))
	}
	return v.from.store.Drop(v.id)
}
