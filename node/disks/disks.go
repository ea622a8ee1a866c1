// Package disks is the disks of one node: its first data folder, and further ones, each with an extent store, a reserve
// and an identity of its own. It says which of them has an extent and which gets a new one, and it does without one
// that fails.
//
// # Promises
//
// A disk is given up when its store has failed, when a write to it hangs, or when it is not there at the start. Nothing
// is written to it any more until the node starts again. What it has counts as missing here: changes and reads of it
// fail with CodeDiskFailed, never as damage and never as if it had not been there; the node reports it, and it is
// repaired to where there is room, another disk of the node included. All other disks go on.
//
// The first disk has the operation log. A node whose first disk fails stops serving, as one with a single disk does.
//
// # Which disk
//
// An extent is on the disk whose store has something of it: a replica before a staged one before a fence, and one that
// works before one that does not. Nothing else is remembered, so nothing can disagree. A new extent goes to a disk that
// takes some, chosen by its number with weights of the free room: the same room gives the same disk.
//
// Acknowledged bytes: Append goes to the disk that holds the replica, and only there. A replica moves to another disk
// by Stage and Commit alone, which compare all of it with the log. Of two replicas of one extent, which a repair beside
// a failed disk leaves once that disk is back, the one made under the higher fence counts, and the other goes to
// quarantine before the node serves. A seal gets no answer from a replica on a disk that is given up, so that it
// waits for others and never takes what is missing for an answer.
//
// Fences: whatever may make a file (Create, Stage, RaiseFence) is done one at a time for an extent (order), and is held
// against the highest fence that any of the stores knows, those given up included.
//
// # Concurrency
//
// Disks is safe for concurrent use. Which disks there are changes only with mu held and is read from a snapshot. order
// is held over I/O, before any lock of a store. A call to a further disk whose result is a value of its own runs in a
// goroutine, which lasts as long as a disk that hangs does.
package disks

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/diskspace"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// MaxDisks bounds the disks of a node.
const MaxDisks = wire.MaxDisks

// FirstDisk is the ID of the disk with the log.
const FirstDisk = "d0"

// Options are what Disks need. All must be set but More. The functions may be called from any goroutine.
type Options struct {
	Node        state.NodeID
	Incarnation uint64
	Cell        func() string // that has admitted the node, empty before
	FS          vfs.FS
	Clock       clock.Clock
	Logger      *slog.Logger
	Look        time.Duration // how often Run looks at the disks
	Probe       time.Duration // how often a further disk is synced, so that an idle one that fails or hangs is noticed
	HungAfter   time.Duration // for how long a write may run before its disk is given up

	// The first disk, which is open.
	Dir      string
	Store    *extent.Store
	Recovery *extent.Recovery
	Space    *diskspace.Disk

	// Counted are the extents of which the cell counts on a replica that only a disk which was given up may have,
	// ascending. nil: none ever.
	Counted func() []state.ExtentID

	More []string // the folders of further disks
	// OpenSpace makes what watches the room of a further disk.
	OpenSpace func(fsys vfs.FS, dir string) (*diskspace.Disk, error)
}

// Disks are those of one node.
type Disks struct {
	o     Options
	first *disk
	order [256]sync.Mutex // by extent: see the package comment
	all   atomic.Pointer[[]*disk]

	listMu sync.Mutex // held over I/O, before mu
	list   list       // guarded by listMu; as on disk
	out    []*disk    // guarded by listMu; taken out since the start: their stores are closed with the others

	mu      sync.Mutex
	said    string        // guarded by mu; what the node said last of why it takes nothing
	changed chan struct{} // guarded by mu; closed and replaced whenever that changes, or a disk is given up
}

// disk is one of them.
type disk struct {
	id, dir  string
	key      string // empty for the first
	cell     string // that its identity named at the start
	fresh    bool   // made by this start
	store    *extent.Store
	recovery *extent.Recovery
	space    *diskspace.Disk
	watched  *vfs.Watched // nil for the first, which is watched with the log
	missing  bool         // it was not there at the start: it has no store
	draining atomic.Bool  // nothing new goes there, and what is there to the other disks: see Drainer
	drained  atomic.Bool  // Invariant: only while draining; nothing is there any more that counts
	progress progress
	gone     chan struct{} // closed once it is given up

	mu   sync.Mutex
	why  error // guarded by mu; why it was given up
	hung bool  // guarded by mu; calls to it may not return
}

func (k *disk) isFirst() bool { return k.watched == nil && !k.missing && k.key == "" }

// works reports whether anything may be written to the disk.
func (k *disk) works() bool { return k.err() == nil }

// err is why nothing can be written to the disk, from memory.
func (k *disk) err() error {
	select {
	case <-k.gone:
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.why
	default:
	}
	if k.store == nil {
		return errors.New("it is not open")
	}
	return k.store.Failed()
}

// giveUp notes that the disk is not used any more, once. It reports whether that is new.
func (k *disk) giveUp(why error, hung bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.why != nil {
		return false
	}
	k.why, k.hung = why, hung
	close(k.gone)
	return true
}

func (k *disk) isHung() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.hung
}

func (k *disk) String() string { return fmt.Sprintf("disk %s (%s)", k.id, k.dir) }

// disks are those that there are, the first one first. The slice is nobody's to change.
func (d *Disks) disks() []*disk { return *d.all.Load() }

// alone is the only disk, nil if there are several.
func (d *Disks) alone() *disk {
	if all := d.disks(); len(all) == 1 {
		return all[0]
	}
	return nil
}

// Failed is why the node can write nothing: the store of the first disk has failed.
func (d *Disks) Failed() error { return d.o.Store.Failed() }

// GivenUp is closed once the disk that has an extent is given up; nil if that is the first.
func (d *Disks) GivenUp(id extent.ID) <-chan struct{} {
	if d.alone() != nil {
		return nil
	}
	if k, trace := d.best(id); trace > extent.TraceNone && !k.isFirst() {
		return k.gone
	}
	return nil
}

// Close closes all stores. One whose disk hangs is left to the end of the process.
func (d *Disks) Close() error {
	var errs []error
	d.listMu.Lock()
	defer d.listMu.Unlock()
	for _, k := range slices.Concat(d.disks(), d.out) {
		if k.store != nil && !k.isHung() {
			errs = append(errs, k.store.Close())
		}
	}
	return errors.Join(errs...)
}
