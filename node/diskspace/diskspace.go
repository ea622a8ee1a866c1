// Package diskspace keeps a part of the node's disk for what must always fit: the entries of the log, fences, the drops
// of files. The part is kept by a file, which nobody else can write to, and given back step by step when the disk is
// full. While less than a little is free beside the reserve, the node takes no replicas and no appends; so a cell whose
// disks are full can still delete.
//
// Disk.Run is its one goroutine, the caller's. One lock guards all but a counter of what is left, and is held while the
// file system is asked and the file of the reserve changes its size.
package diskspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// ReserveFile is what keeps the reserve of the disk, in the data folder. Nothing ever reads it.
const ReserveFile = "reserve"

const (
	reserveShare = 20 // a twentieth of the disk, where the setting leaves it to the disk
	leastReserve = 4 << 20
	mostReserve  = 256 << 20
	// A reserve takes no more than a quarter of the disk, whatever the setting says.
	reserveMostShare = 4
	// reserveSteps is in how many parts it is given back: somebody else may be filling the disk, and would take the
	// whole of it before the log could.
	reserveSteps = 8
	// One append and what it takes besides must fit what is left when a node still takes appends.
	appendExtra  = 128 << 10
	mostLow      = 64 << 20
	lowMostShare = 16
	// startFree is what must be free for the store and the log to open in any case.
	startFree = 1 << 20
)

// Options are what a Disk needs. All must be set; Clock and Look are for Run alone.
type Options struct {
	FS     vfs.FS
	Dir    string       // the data folder; the reserve is a file in it
	Node   state.NodeID // whose disk this is, for errors
	Logger *slog.Logger
	Clock  clock.Clock
	Look   time.Duration // how often Run looks at the disk
	// AppendBytes is the most that one append takes: a node that takes appends has room for at least one.
	AppendBytes int64
	// Reserve is the cell's setting, 0 for what suits the disk; known is false before the log has one. It may be called
	// from any goroutine, and calls nothing of the Disk.
	Reserve func() (bytes uint64, known bool)
}

// Disk watches how full the node's disk is, and keeps a part of it for what must always fit. Its methods may be called
// from any goroutine.
type Disk struct {
	options Options

	// left is about how many bytes extents may still take; below 0 it is looked anew. It saves a system call for
	// each append.
	left atomic.Int64

	mu      sync.Mutex
	held    int64         // guarded by mu; bytes of the file
	want    int64         // guarded by mu; bytes that it should have
	space   vfs.Space     // guarded by mu; as it was last looked at; zero: nobody can tell
	refuses string        // guarded by mu; why nothing is taken, empty: something is
	changed chan struct{} // guarded by mu; closed and replaced whenever refuses changes
	said    string        // guarded by mu; the last trouble with the file, which is logged once
}

// Open finds the reserve in a data folder. On a disk that is full it gives some of it back at once: the store and the
// log could not open otherwise.
func Open(o Options) (*Disk, error) {
	d := &Disk{options: o, changed: make(chan struct{})}
	d.left.Store(math.MaxInt64)
	info, err := o.FS.Stat(d.file())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reserve of the disk: %w", err)
	}
	d.held = info.SizeBytes
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lookLocked()
	for d.space.TotalBytes > 0 && d.space.FreeBytes < startFree && d.giveLocked() {
		d.lookLocked()
	}
	if why := caution(d.space.Kind); why != "" {
		o.Logger.Warn("the file system of a data folder does not suit a node: "+why, "dir", o.Dir)
	}
	return d, nil
}

// caution is what speaks against a file system; empty: nothing.
func caution(kind string) string {
	switch kind {
	case "btrfs":
		return "btrfs writes 25 to 35 times the bytes of each small put, and what is deleted of an extent may stay taken; " +
			"keep the folder on xfs or ext4"
	case "fuse":
		return "it is served by a program (FUSE), and where that has no fsync every sync is called a success: " +
			"what is acknowledged may be in that program's memory; keep the folder on xfs or ext4"
	}
	return ""
}

func (d *Disk) file() string { return filepath.Join(d.options.Dir, ReserveFile) }

// Run keeps the reserve whole, and what the node says of its disk true, until ctx ends.
func (d *Disk) Run(ctx context.Context) {
	for {
		d.keep()
		select {
		case <-d.options.Clock.After(d.options.Look):
		case <-ctx.Done():
			return
		}
	}
}

// keep looks at the disk and makes the reserve as large as it should be, as far as there is room.
func (d *Disk) keep() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lookLocked()
	missing, spare := d.want-d.held, int64(d.space.FreeBytes)-d.lowLocked()
	switch {
	case d.space.TotalBytes == 0:
		return
	case missing < 0:
		d.resizeLocked(d.want)
	case missing > 0 && spare > 0:
		d.resizeLocked(d.held + min(missing, spare))
	default:
		return
	}
	d.lookLocked()
}

// lookLocked asks how full the disk is, and judges by it whether anything is taken.
func (d *Disk) lookLocked() {
	space, err := d.options.FS.Space(d.options.Dir)
	if err != nil {
		if !errors.Is(err, errors.ErrUnsupported) {
			d.sayLocked("cannot tell how full the disk is", err)
		}
		d.space, d.want = vfs.Space{}, d.held
		d.left.Store(math.MaxInt64)
		d.judgeLocked("")
		return
	}
	d.space = space
	set, known := d.options.Reserve()
	if d.want = reserveOf(space.TotalBytes, set); !known {
		d.want = max(min(d.want, leastReserve), d.held) // the cell may ask for more, or less
	}
	free, low := d.freeLocked(), d.lowLocked()
	why := d.refuses
	switch {
	case free < low && d.held < d.want:
		why = fmt.Sprintf("its disk is full, and its reserve of %s is in use", sizeText(d.want))
	case free < low:
		why = fmt.Sprintf("its disk is full but for its reserve of %s", sizeText(d.want))
	case free >= 2*low: // in between it stays as it was, or it would change with every append
		why = ""
	}
	d.judgeLocked(why)
	d.left.Store(free - low)
	if why != "" {
		d.left.Store(-1)
	}
}

// reserveOf is how much of a disk extents leave free.
func reserveOf(total, set uint64) int64 {
	want := max(min(total/reserveShare, mostReserve), leastReserve)
	if set > 0 {
		want = set
	}
	return int64(min(want, total/reserveMostShare))
}

// freeLocked is what extents may still take.
func (d *Disk) freeLocked() int64 {
	return max(int64(d.space.FreeBytes)+d.held-d.want, 0)
}

// lowLocked is how much must be free beside the reserve for the node to take something.
func (d *Disk) lowLocked() int64 {
	low := max(min(d.want/reserveMostShare, mostLow), d.options.AppendBytes+appendExtra)
	return min(low, int64(d.space.TotalBytes/lowMostShare))
}

func (d *Disk) judgeLocked(why string) {
	if why == d.refuses {
		return
	}
	if d.refuses = why; why != "" {
		d.options.Logger.Warn("takes no replicas and no appends", "why", why,
			"freeBytes", d.space.FreeBytes, "reserveBytes", d.held)
	} else {
		d.options.Logger.Info("takes replicas and appends again", "freeBytes", d.space.FreeBytes)
	}
	close(d.changed)
	d.changed = make(chan struct{})
}

// resizeLocked makes the file so large, with room on the disk behind all of it.
func (d *Disk) resizeLocked(size int64) {
	if err := d.tryResize(size); err != nil {
		d.sayLocked("the reserve of the disk cannot be kept", err)
	} else {
		d.said = ""
	}
	// Whatever has happened: what the file has now is what it keeps.
	if info, err := d.options.FS.Stat(d.file()); err == nil {
		d.held = info.SizeBytes
	}
}

func (d *Disk) tryResize(size int64) error {
	f, err := d.options.FS.OpenRW(d.file())
	if errors.Is(err, fs.ErrNotExist) {
		f, err = d.options.FS.Create(d.file())
	}
	if err != nil {
		return err
	}
	if size > d.held {
		if err = f.Allocate(size); err != nil {
			err = errors.Join(err, f.Truncate(d.held)) // what it has taken beyond that may be a hole
		}
	} else if err = f.Truncate(size); err == nil {
		err = f.Sync() // a file system may give the blocks back only once it has noted the new size
	}
	return errors.Join(err, f.Close())
}

func (d *Disk) sayLocked(what string, err error) {
	if text := what + err.Error(); text != d.said {
		d.said = text
		d.options.Logger.Error(what, "error", err)
	}
}

// MakeRoom gives a part of the reserve back, for a write that found the disk full. It reports whether that write may be
// tried again.
func (d *Disk) MakeRoom() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	was := d.space.FreeBytes
	d.lookLocked()
	if d.space.FreeBytes > was && d.space.FreeBytes >= startFree/reserveSteps {
		return true // somebody else has made some meanwhile
	}
	return d.giveLocked()
}

func (d *Disk) giveLocked() bool {
	was := d.held
	if was == 0 {
		return false
	}
	d.resizeLocked(max(was-max(d.want/reserveSteps, startFree/reserveSteps), 0))
	d.lookLocked()
	d.options.Logger.Warn("the disk is full: a part of its reserve is given back",
		"reserveBytes", d.held, "freeBytes", d.space.FreeBytes)
	return d.held < was
}

// Take asks for space for so many bytes of an extent, 0 for whether anything is taken at all. The error has code
// no-space and says why there is none; it costs no system call as long as there is plenty.
func (d *Disk) Take(op wire.OpType, bytes int) error {
	if d.left.Add(-int64(bytes)) >= 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lookLocked()
	if d.refuses == "" {
		return nil
	}
	return wire.Errorf(op, wire.CodeNoSpace, "%s takes nothing now: %s; ask another node, or delete something",
		d.options.Node, d.refuses)
}

// Status is what the node says of its disk, in bytes.
type Status struct {
	Free    uint64          // for extents, beside the reserve
	Total   uint64          // 0: nobody can tell
	Reserve uint64          // what is kept of it
	Refuses string          // why nothing is taken; empty: something is
	Caution string          // what speaks against the disk's file system; empty: nothing
	Changed <-chan struct{} // closed when Refuses changes
	Largest uint64          // of several disks, what extents may take on the one with most; 0: Free
}

// Status is how the disk was when it was last looked at.
func (d *Disk) Status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Status{Total: d.space.TotalBytes, Reserve: uint64(d.held), Refuses: d.refuses, Changed: d.changed,
		Caution: caution(d.space.Kind)}
	if s.Total > 0 {
		s.Free = uint64(d.freeLocked())
	}
	return s
}

// sizeText is a size for people, in the units of settings.
func sizeText(bytes int64) string {
	const step = 64 << 10
	return state.UnitsText(uint64(bytes / step * step))
}
