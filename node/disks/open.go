package disks

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/node/replica"
)

// Open opens the further disks of a node. What a person can put right at once, such as a folder of another node, is an
// error; a disk that fails or is not there is given up, and the node goes on without it.
func Open(o Options) (*Disks, error) {
	d := &Disks{o: o, changed: make(chan struct{})}
	d.first = &disk{id: FirstDisk, dir: o.Dir, store: o.Store, recovery: o.Recovery, space: o.Space,
		gone: make(chan struct{})}
	all := []*disk{d.first}
	d.all.Store(&all)
	var err error
	if d.list, err = readList(o.FS, o.Dir); err != nil {
		return nil, fmt.Errorf("data folder %s: %w", o.Dir, err)
	}
	if len(o.More) == 0 && len(d.list.Disks) == 0 {
		return d, nil
	}
	if len(o.More) >= MaxDisks {
		return nil, fmt.Errorf("a node has at most %d disks, not %d", MaxDisks, len(o.More)+1)
	}
	for _, dir := range o.More {
		k, err := d.openDir(filepath.Clean(dir), all)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("disk in %s: %w", dir, err), closeFurther(all))
		}
		all = append(all, k)
	}
	all = d.withMissing(all)
	if err := d.list.write(o.FS, o.Dir); err != nil && !vfs.IsNoSpace(err) {
		return nil, errors.Join(fmt.Errorf("data folder %s: %w", o.Dir, err), closeFurther(all))
	}
	d.all.Store(&all)
	d.settleDoubles()
	return d, nil
}

func closeFurther(all []*disk) error {
	var errs []error
	for _, k := range all[1:] {
		if k.store != nil {
			errs = append(errs, k.store.Close())
		}
	}
	return errors.Join(errs...)
}

// openDir opens one further folder.
func (d *Disks) openDir(dir string, open []*disk) (*disk, error) {
	if dir == filepath.Clean(d.o.Dir) {
		return nil, errors.New("it is named twice; give each --dir a folder of its own, on a disk of its own")
	}
	fsys := vfs.NewWatched(d.o.FS, d.o.Clock.Now)
	id, err := readIdentity(fsys, dir)
	k := &disk{dir: dir, watched: fsys, gone: make(chan struct{})}
	var damaged *damagedError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if was := d.list.at(dir); was != nil && !usedBy(open, was.Key) {
			return d.missing(*was, "there is nothing in its folder"), nil
		}
		if id, err = d.makeDisk(fsys, dir); err != nil {
			return nil, err
		}
		k.fresh = true
	case errors.As(err, &damaged):
		return nil, err
	case err != nil:
		if was := d.list.at(dir); was != nil {
			return d.missing(*was, err.Error()), nil
		}
		return nil, err
	}
	if err := d.checkOwner(id, dir, open); err != nil {
		return nil, err
	}
	k.id, k.key, k.cell = id.Disk, id.Key, id.Cell
	d.remember(k)
	return k, d.openStore(k)
}

func usedBy(open []*disk, key string) bool {
	return slices.ContainsFunc(open, func(k *disk) bool { return k.key == key })
}

// missing is a disk that was there before and is not. Nothing is written to its folder, which may be one on another
// disk with nothing mounted there.
func (d *Disks) missing(was remembered, why string) *disk {
	k := &disk{id: was.Disk, key: was.Key, dir: was.Dir, missing: true, gone: make(chan struct{})}
	k.draining.Store(was.Draining)
	k.giveUp(fmt.Errorf("it is missing: %s; mount it and start the node again, "+
		"or, if it is gone for good, use datanode disk replace %s %s", why, d.o.Node, was.Disk), false)
	d.o.Logger.Error("a disk is missing: what it had is repaired elsewhere", "disk", k.id, "dir", k.dir, "why", why)
	return k
}

// withMissing adds the disks that are remembered and were not named.
func (d *Disks) withMissing(all []*disk) []*disk {
	for _, was := range d.list.Disks {
		if !usedBy(all, was.Key) {
			all = append(all, d.missing(was, "no --dir of this start is it"))
		}
	}
	return all
}

// makeDisk makes a new disk of an empty folder. A start that is cut off leaves a folder that the next one takes again.
func (d *Disks) makeDisk(fsys vfs.FS, dir string) (id identity, err error) {
	empty, why, err := isNew(fsys, dir)
	if err != nil {
		return id, err
	}
	if !empty {
		return id, fmt.Errorf("%s; a further --dir must be empty when it is first used", why)
	}
	if err := errors.Join(fsys.MkdirAll(dir), fsys.Private(dir)); err != nil {
		return id, err
	}
	key := make([]byte, 16)
	if _, err := rand.Read(key); err != nil {
		return id, err
	}
	id = identity{
		Disk: fmt.Sprintf("d%d", d.list.Next), Node: string(d.o.Node), Cell: d.o.Cell(), Key: hex.EncodeToString(key),
	}
	d.list.Next++
	return id, id.write(fsys, dir)
}

// checkOwner refuses the folder of another node or cell, and one that is here already.
func (d *Disks) checkOwner(id identity, dir string, open []*disk) error {
	cell := d.o.Cell()
	for _, was := range d.list.Gone {
		if was.Key == id.Key {
			return fmt.Errorf("it is %s, which was taken out of %s; what it has is of the past: "+
				"empty the folder to use it as a new disk, or leave this --dir out", id.Disk, d.o.Node)
		}
	}
	switch {
	case id.Node != string(d.o.Node):
		return fmt.Errorf("it belongs to node %s, not %s; give this node its own --dir", id.Node, d.o.Node)
	case id.Cell != "" && cell != "" && id.Cell != cell:
		return fmt.Errorf("it belongs to cell %s, not %s; give this node its own --dir", id.Cell, cell)
	}
	for _, k := range open {
		if k.key == id.Key {
			return fmt.Errorf("it is the same disk as %s, or a copy of it (%s); give each --dir a folder of its own",
				k.dir, id.Disk)
		}
	}
	if was := d.list.find(func(r remembered) bool { return r.Disk == id.Disk }); was != nil && was.Key != id.Key {
		return fmt.Errorf("it says that it is %s, and this node knows another disk of that name (in %s)", id.Disk, was.Dir)
	}
	return nil
}

// remember notes a disk, and where it is now.
func (d *Disks) remember(k *disk) {
	if n, err := strconv.Atoi(strings.TrimPrefix(k.id, "d")); err == nil {
		d.list.Next = max(d.list.Next, n+1)
	}
	was := d.list.find(func(r remembered) bool { return r.Key == k.key })
	if was == nil {
		d.list.Disks = append(d.list.Disks, remembered{Disk: k.id, Key: k.key, Dir: k.dir})
		return
	}
	was.Dir = k.dir
	k.draining.Store(was.Draining)
}

// openStore opens the store of a further disk. Only that another process has it is an error: all else gives the disk
// up.
func (d *Disks) openStore(k *disk) error {
	err := d.tryStore(k)
	if errors.Is(err, vfs.ErrLocked) {
		return fmt.Errorf("it is in use by another process; stop that node, or give this one its own --dir")
	}
	if err != nil {
		if k.store != nil {
			err = errors.Join(err, k.store.Close())
			k.store, k.recovery = nil, nil
		}
		k.giveUp(fmt.Errorf("it cannot be opened: %w", err), false)
		d.o.Logger.Error("a disk cannot be opened: what it had is repaired elsewhere", "disk", k.id, "dir", k.dir,
			"error", err)
	}
	return nil
}

func (d *Disks) tryStore(k *disk) (err error) {
	if err := k.watched.Private(k.dir); err != nil {
		return err
	}
	if k.space, err = d.o.OpenSpace(k.watched, k.dir); err != nil {
		return err
	}
	k.store, k.recovery, err = extent.Begin(k.watched, filepath.Join(k.dir, storeFolder),
		extent.Options{MakeRoom: k.space.MakeRoom})
	return err
}

// RunsBefore are the incarnations of the node that ran on all of its disks, of those that ran on the first. One that
// was not there in a run, or was put back from an older copy, makes the node compare what it holds with the log.
func (d *Disks) RunsBefore(first []uint64) []uint64 {
	for _, k := range d.disks()[1:] {
		if k.store == nil {
			continue
		}
		runs, err := replica.NoteRun(k.watched, filepath.Join(k.dir, storeFolder), d.o.Incarnation)
		if err != nil {
			d.o.Logger.Warn("this run is not in a disk's list: the next one will compare all that the node holds",
				"disk", k.id, "error", err)
		}
		if !k.fresh {
			first = slices.DeleteFunc(slices.Clone(first), func(run uint64) bool { return !slices.Contains(runs, run) })
		}
	}
	return first
}

// settleDoubles puts all but one of the replicas aside that several disks have of one extent: a repair that was made
// beside a disk which had failed is newer than what that disk has.
func (d *Disks) settleDoubles() {
	on := map[extent.ID]*disk{}
	for _, k := range d.disks() {
		if !k.works() {
			continue
		}
		for _, id := range k.store.IDs() {
			other := on[id]
			if other == nil {
				on[id] = k
				continue
			}
			keep, put := newer(id, other, k)
			on[id] = keep
			if err := put.store.Quarantine(id, fmt.Sprintf("%s has a newer replica", keep)); err != nil {
				d.giveUp(put, fmt.Errorf("extent %d, of which %s has a newer replica, cannot be put aside: %w", id, keep, err))
			}
		}
	}
}

// newer is which of two disks has the replica that counts.
func newer(id extent.ID, a, b *disk) (keep, put *disk) {
	have := func(k *disk) (info extent.Info) {
		info, err := k.store.Stat(id)
		if err != nil {
			info.Broken = err.Error()
		}
		return info
	}
	x, y := have(a), have(b)
	switch {
	case (x.Broken == "") != (y.Broken == ""):
		if x.Broken != "" {
			return b, a
		}
	case x.Created != y.Created:
		if x.Created < y.Created {
			return b, a
		}
	case x.Length < y.Length, x.Length == y.Length && a.draining.Load() && !b.draining.Load():
		return b, a
	}
	return a, b
}

// Recover opens all stores to the end. Only the first disk's failure is the node's.
func (d *Disks) Recover(ctx context.Context) (extent.Report, error) {
	var wg sync.WaitGroup
	for _, k := range d.disks()[1:] {
		if k.recovery == nil {
			continue
		}
		wg.Go(func() {
			found, err := k.recovery.Run(ctx)
			switch {
			case ctx.Err() != nil:
			case err != nil:
				d.giveUp(k, err)
			default:
				d.o.Logger.Info("disk opened", "disk", k.id, "found", strings.TrimSpace(found.String()))
			}
		})
	}
	found, err := d.first.recovery.Run(ctx)
	wg.Wait()
	return found, err
}
