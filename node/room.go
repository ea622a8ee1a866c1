package node

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

	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// reserveFile is what keeps the reserve of the disk, in the data folder. Nothing ever reads it.
const reserveFile = "reserve"

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
	leastLow, mostLow = appendPiece + 128<<10, 64 << 20
	lowMostShare      = 16
	// startFree is what must be free for the store and the log to open in any case.
	startFree = 1 << 20
)

// room watches how full the node's disk is, and keeps a part of it for what must always fit: the entries of the
// log, fences, the drops of files. The part is kept by a file, which nobody else can write to, and given back step
// by step when the disk is full. While less than a little is free beside the reserve, the node takes no replicas and no appends; so a
// cell whose disks are full can still delete. Its methods may be called from any goroutine.
type room struct {
	fs     vfs.FS
	dir    string
	logger *slog.Logger
	// reserve is the setting, 0 for what suits the disk; known is false before the log has told.
	reserve func() (bytes uint64, known bool)

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

// openRoom finds the reserve in a data folder. On a disk that is full it gives some of it back at once: the
// store and the log could not open otherwise.
func openRoom(fsys vfs.FS, dir string, reserve func() (uint64, bool), logger *slog.Logger) (*room, error) {
	r := &room{fs: fsys, dir: dir, logger: logger, reserve: reserve, changed: make(chan struct{})}
	r.left.Store(math.MaxInt64)
	info, err := fsys.Stat(r.file())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reserve of the disk: %w", err)
	}
	r.held = info.SizeBytes
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lookLocked()
	for r.space.TotalBytes > 0 && r.space.FreeBytes < startFree && r.giveLocked() {
		r.lookLocked()
	}
	return r, nil
}

func (r *room) file() string { return filepath.Join(r.dir, reserveFile) }

// run keeps the reserve whole, and what the node says of its disk true.
func (r *room) run(ctx context.Context, n *Node) {
	for {
		r.keep()
		select {
		case <-n.after(n.time.tick):
		case <-ctx.Done():
			return
		}
	}
}

// keep looks at the disk and makes the reserve as large as it should be, as far as there is room.
func (r *room) keep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lookLocked()
	missing, spare := r.want-r.held, int64(r.space.FreeBytes)-r.lowLocked()
	switch {
	case r.space.TotalBytes == 0:
		return
	case missing < 0:
		r.resizeLocked(r.want)
	case missing > 0 && spare > 0:
		r.resizeLocked(r.held + min(missing, spare))
	default:
		return
	}
	r.lookLocked()
}

// lookLocked asks how full the disk is, and judges by it whether anything is taken.
func (r *room) lookLocked() {
	space, err := r.fs.Space(r.dir)
	if err != nil {
		if !errors.Is(err, errors.ErrUnsupported) {
			r.sayLocked("cannot tell how full the disk is", err)
		}
		r.space, r.want = vfs.Space{}, r.held
		r.left.Store(math.MaxInt64)
		r.judgeLocked("")
		return
	}
	r.space = space
	set, known := r.reserve()
	if r.want = reserveOf(space.TotalBytes, set); !known {
		r.want = max(min(r.want, leastReserve), r.held) // the cell may ask for more, or less
	}
	free, low := r.freeLocked(), r.lowLocked()
	why := r.refuses
	switch {
	case free < low && r.held < r.want:
		why = fmt.Sprintf("its disk is full, and its reserve of %s is in use", sizeText(r.want))
	case free < low:
		why = fmt.Sprintf("its disk is full but for its reserve of %s", sizeText(r.want))
	case free >= 2*low: // in between it stays as it was, or it would change with every append
		why = ""
	}
	r.judgeLocked(why)
	r.left.Store(free - low)
	if why != "" {
		r.left.Store(-1)
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
func (r *room) freeLocked() int64 {
	return max(int64(r.space.FreeBytes)+r.held-r.want, 0)
}

// lowLocked is how much must be free beside the reserve for the node to take something.
func (r *room) lowLocked() int64 {
	low := max(min(r.want/reserveMostShare, mostLow), leastLow)
	return min(low, int64(r.space.TotalBytes/lowMostShare))
}

func (r *room) judgeLocked(why string) {
	if why == r.refuses {
		return
	}
	if r.refuses = why; why != "" {
		r.logger.Warn("takes no replicas and no appends", "why", why, "freeBytes", r.space.FreeBytes, "reserveBytes", r.held)
	} else {
		r.logger.Info("takes replicas and appends again", "freeBytes", r.space.FreeBytes)
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// resizeLocked makes the file so large, with room on the disk behind all of it.
func (r *room) resizeLocked(size int64) {
	if err := r.tryResize(size); err != nil {
		r.sayLocked("the reserve of the disk cannot be kept", err)
	} else {
		r.said = ""
	}
	// Whatever has happened: what the file has now is what it keeps.
	if info, err := r.fs.Stat(r.file()); err == nil {
		r.held = info.SizeBytes
	}
}

func (r *room) tryResize(size int64) error {
	f, err := r.fs.OpenRW(r.file())
	if errors.Is(err, fs.ErrNotExist) {
		f, err = r.fs.Create(r.file())
	}
	if err != nil {
		return err
	}
	if size > r.held {
		if err = f.Allocate(size); err != nil {
			err = errors.Join(err, f.Truncate(r.held)) // what it has taken beyond that may be a hole
		}
	} else if err = f.Truncate(size); err == nil {
		err = f.Sync() // a file system may give the blocks back only once it has noted the new size
	}
	return errors.Join(err, f.Close())
}

func (r *room) sayLocked(what string, err error) {
	if text := what + err.Error(); text != r.said {
		r.said = text
		r.logger.Error(what, "error", err)
	}
}

// make gives a part of the reserve back, for a write that found the disk full. It tells whether that write may be
// tried again.
func (r *room) make() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.space.FreeBytes
	r.lookLocked()
	if r.space.FreeBytes > was && r.space.FreeBytes >= startFree/reserveSteps {
		return true // somebody else has made some meanwhile
	}
	return r.giveLocked()
}

func (r *room) giveLocked() bool {
	was := r.held
	if was == 0 {
		return false
	}
	r.resizeLocked(max(was-max(r.want/reserveSteps, startFree/reserveSteps), 0))
	r.lookLocked()
	r.logger.Warn("the disk is full: a part of its reserve is given back",
		"reserveBytes", r.held, "freeBytes", r.space.FreeBytes)
	return r.held < was
}

// take asks for room for so many bytes of an extent. The error says why there is none.
func (r *room) take(op wire.OpType, id state.NodeID, bytes int) error {
	if r.left.Add(-int64(bytes)) >= 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lookLocked()
	if r.refuses == "" {
		return nil
	}
	return wire.Errorf(op, wire.CodeNoSpace, "%s takes nothing now: %s; ask another node, or delete something",
		id, r.refuses)
}

// disk is what the node says of its disk.
type disk struct {
	free, total, reserve uint64
	refuses              string
	changed              <-chan struct{} // closed when refuses changes
}

func (r *room) disk() disk {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := disk{total: r.space.TotalBytes, reserve: uint64(r.held), refuses: r.refuses, changed: r.changed}
	if d.total > 0 {
		d.free = uint64(r.freeLocked())
	}
	return d
}

// disk is what this node says of its disk: that of its room, and that its store has failed.
func (n *Node) disk() disk {
	d := n.room.disk()
	if err := n.store.Failed(); err != nil {
		d.refuses = wire.Clip("its store has failed: "+err.Error(), maxDetailBytes)
	}
	return d
}

// sizeText is a size for people, in the units of settings.
func sizeText(bytes int64) string {
	const step = 64 << 10
	return state.UnitsText(uint64(bytes / step * step))
}

// diskReserve is the cell's setting, once the log has told of a cell.
func (n *Node) diskReserve() (bytes uint64, known bool) {
	log := n.group.Load()
	if log == nil {
		return 0, false
	}
	view := log.View()
	return view.Settings.DiskReserve, view.Cell != ""
}
