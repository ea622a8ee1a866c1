package disks

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/datanode/datanode/wire"
)

// Run watches the disks until ctx ends.
func (d *Disks) Run(ctx context.Context) {
	if d.alone() != nil {
		<-ctx.Done()
		return
	}
	ended := map[*disk]*sync.WaitGroup{}
	for _, k := range d.disks()[1:] {
		if k.space == nil {
			continue
		}
		ended[k] = &sync.WaitGroup{}
		ended[k].Go(func() {
			d.learnCell(ctx, k)
			k.space.Run(ctx)
		})
		ended[k].Go(func() { d.probe(ctx, k) })
	}
	for ctx.Err() == nil {
		d.look()
		select {
		case <-d.o.Clock.After(d.o.Look):
		case <-ctx.Done():
		}
	}
	for k, end := range ended {
		if !k.isHung() { // one that hangs may keep its goroutine to the end of the process
			end.Wait()
		}
	}
}

// probe syncs a file of a disk again and again, so that a disk to which nothing is written is given up as well when it
// fails or hangs: its extents would be called safe until then, and reads of them would wait.
func (d *Disks) probe(ctx context.Context, k *disk) {
	for k.works() {
		select {
		case <-d.o.Clock.After(d.o.Probe):
		case <-k.gone:
			return
		case <-ctx.Done():
			return
		}
		f, err := k.watched.OpenRW(filepath.Join(k.dir, IdentityFile))
		if err != nil {
			continue // the process may have too many files open: nothing is said of the disk
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			k.store.GiveUp(err)
			d.giveUp(k, fmt.Errorf("it failed: %w", err))
		}
	}
}

// look gives up what has failed since, and says so.
func (d *Disks) look() {
	for _, k := range d.disks()[1:] {
		if k.store == nil || isClosed(k.gone) {
			continue
		}
		if err := k.store.Failed(); err != nil {
			d.giveUp(k, err)
		} else if longest := k.watched.Longest(); longest > d.o.HungAfter {
			why := fmt.Errorf("it hangs: a write has taken %s so far", longest.Round(100*time.Millisecond))
			k.store.GiveUp(why)
			k.giveUp(why, true)
			d.gaveUp(k, why)
		}
	}
	why := d.Status().Refuses
	d.mu.Lock()
	defer d.mu.Unlock()
	if why != d.said {
		d.said = why
		d.tellLocked()
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (d *Disks) giveUp(k *disk, why error) {
	if k.giveUp(why, false) {
		d.gaveUp(k, why)
	}
}

func (d *Disks) gaveUp(k *disk, why error) {
	d.o.Logger.Error("a disk is given up: what it has is repaired elsewhere", "disk", k.id, "dir", k.dir, "error", why)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tellLocked()
}

func (d *Disks) tellLocked() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// Changed is closed when a disk is given up, or the node takes something again or no more.
func (d *Disks) Changed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

// learnCell has a disk say whose it is, once a cell has admitted the node.
func (d *Disks) learnCell(ctx context.Context, k *disk) {
	for k.cell == "" && d.o.Cell() == "" {
		select {
		case <-d.o.Clock.After(d.o.Look):
		case <-ctx.Done():
			return
		}
	}
	if k.cell != "" || !k.works() {
		return
	}
	id := identity{Disk: k.id, Node: string(d.o.Node), Cell: d.o.Cell(), Key: k.key}
	if err := id.write(k.watched, k.dir); err != nil { // the next start tries again
		d.o.Logger.Warn("a disk does not say yet which cell it belongs to", "disk", k.id, "error", err)
	}
}

// Describe says how each disk is, and what extents take there, for which it looks at each of them.
func (d *Disks) Describe() (all []wire.Disk) {
	for _, k := range d.disks() {
		all = append(all, d.describe(k))
	}
	return all
}

func (d *Disks) describe(k *disk) wire.Disk {
	out := d.stateOf(k)
	if k.store != nil {
		use := k.store.Usage()
		out.Extents, out.Used = use.Extents, uint64(use.PhysicalBytes+use.StagingBytes)
	}
	return out
}

// States says how each disk is, as soon with many extents as with none.
func (d *Disks) States() (all []wire.Disk) {
	for _, k := range d.disks() {
		all = append(all, d.stateOf(k))
	}
	return all
}

// NotOK are the disks that are not ok, nil for none.
func (d *Disks) NotOK() (all []wire.NodeDisk) {
	for _, k := range d.disks() {
		if s := d.stateOf(k); s.State != wire.DiskOK {
			all = append(all, wire.NodeDisk{Node: s.Node, Disk: s.Disk, State: s.State,
				Why: wire.Clip(s.Why, wire.MaxDiskWhyBytes)})
		}
	}
	return all
}

func (d *Disks) stateOf(k *disk) wire.Disk {
	out := wire.Disk{Node: string(d.o.Node), Disk: k.id, Dir: k.dir, State: wire.DiskOK}
	err := k.err()
	switch {
	case k.missing:
		out.State = wire.DiskMissing
	case err != nil:
		out.State = wire.DiskFailed
	case k.drained.Load():
		out.State = wire.DiskDrained
	case k.draining.Load():
		out.State = wire.DiskDraining
	}
	if k.draining.Load() {
		k.progress.describe(&out, d.o.Clock.Now())
	}
	if err != nil {
		out.Why = err.Error()
	}
	if k.space != nil {
		s := k.space.Status()
		out.Free, out.Total, out.Reserve, out.Refuses = s.Free, s.Total, s.Reserve, s.Refuses
	}
	return out
}
