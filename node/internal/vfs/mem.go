package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"path"
	"slices"
	"sync"
)

// ErrCrashed is what handles say that were open when a Mem crashed or its process was killed.
var ErrCrashed = errors.New("the file system has crashed since")

// Mem is a file system in memory that can crash. It keeps two views of names and bytes: what a
// running process sees, and what is durable. It is stricter than most real ones: syncing a file
// does not make its name durable, and unsynced pages reach the disk in any order.
type Mem struct {
	mu      sync.Mutex
	dirs    map[string]map[string]*memInode // seen; folders are durable at once
	durable map[string]map[string]*memInode
	pending []nameChange // seen but not durable yet, oldest first
	locks   map[string]bool
	epoch   int   // counts crashes and kills: handles of an earlier one are dead
	limit   int64 // bytes of all files; 0: no limit
}

var _ FS = (*Mem)(nil)

// nameChange is one atomic change of names: gone loses its file and name gets inode. Either may be
// empty.
type nameChange struct {
	gone, name string
	inode      *memInode
}

func (c nameChange) touches(dir string) bool {
	return c.gone != "" && path.Dir(c.gone) == dir || c.name != "" && path.Dir(c.name) == dir
}

// NewMem returns an empty file system that holds the folders "/" and ".".
func NewMem() *Mem {
	m := &Mem{
		dirs:    map[string]map[string]*memInode{},
		durable: map[string]map[string]*memInode{},
		locks:   map[string]bool{},
	}
	m.mkdir("/")
	m.mkdir(".")
	return m
}

func (m *Mem) mkdir(dir string) {
	if m.dirs[dir] == nil {
		m.dirs[dir] = map[string]*memInode{}
		m.durable[dir] = map[string]*memInode{}
	}
}

func (c nameChange) applyTo(dirs map[string]map[string]*memInode) {
	if c.gone != "" {
		delete(dirs[path.Dir(c.gone)], path.Base(c.gone))
	}
	if c.name != "" {
		dirs[path.Dir(c.name)][path.Base(c.name)] = c.inode
	}
}

func (m *Mem) change(c nameChange) {
	c.applyTo(m.dirs)
	m.pending = append(m.pending, c)
}

func (m *Mem) find(op, name string) (*memInode, error) {
	if inode := m.dirs[path.Dir(name)][path.Base(name)]; inode != nil {
		return inode, nil
	}
	return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

// Create implements FS.
func (m *Mem) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	if m.dirs[path.Dir(name)] == nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrNotExist}
	}
	if _, err := m.find("create", name); err == nil || m.dirs[name] != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	inode := newInode()
	m.change(nameChange{name: name, inode: inode})
	return &memFile{mem: m, inode: inode, name: name, epoch: m.epoch}, nil
}

// OpenRW implements FS.
func (m *Mem) OpenRW(name string) (File, error) { return asFile(m.open(name, false)) }

// OpenRead implements FS.
func (m *Mem) OpenRead(name string) (File, error) { return asFile(m.open(name, true)) }

func asFile(f *memFile, err error) (File, error) {
	if err != nil {
		return nil, err // and not an interface that holds no handle
	}
	return f, nil
}

// memAlign is the alignment of a Mem's files.
const memAlign = 4 << 10

// OpenDirect implements FS.
func (m *Mem) OpenDirect(name string) (File, int, error) {
	f, err := m.open(name, false)
	if err != nil {
		return nil, 0, err
	}
	return &memDirect{f}, memAlign, nil
}

func (m *Mem) open(name string, readOnly bool) (*memFile, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	inode, err := m.find("open", name)
	if err != nil {
		return nil, err
	}
	return &memFile{mem: m, inode: inode, name: name, epoch: m.epoch, readOnly: readOnly}, nil
}

// Limit makes the disk so large. What is there already stays, also beyond it. 0 takes the limit away.
func (m *Mem) Limit(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limit = bytes
}

// Space implements FS.
func (m *Mem) Space(string) (Space, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.limit == 0 {
		return Space{}, errors.ErrUnsupported
	}
	return Space{FreeBytes: uint64(m.freeLocked()), TotalBytes: uint64(m.limit)}, nil
}

// freeLocked is how much files may still grow. A file without a name takes no room here, though a handle may be open.
func (m *Mem) freeLocked() int64 {
	if m.limit == 0 {
		return math.MaxInt64
	}
	used := int64(0)
	for _, names := range m.dirs {
		for _, inode := range names {
			used += int64(len(inode.data))
		}
	}
	return max(m.limit-used, 0)
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	if _, err := m.find("remove", name); err != nil {
		return err
	}
	m.change(nameChange{gone: name})
	return nil
}

// Rename implements FS.
func (m *Mem) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, to = path.Clean(from), path.Clean(to)
	inode, err := m.find("rename", from)
	if err != nil {
		return err
	}
	if m.dirs[path.Dir(to)] == nil {
		return &fs.PathError{Op: "rename", Path: to, Err: fs.ErrNotExist}
	}
	if from != to {
		m.change(nameChange{gone: from, name: to, inode: inode})
	}
	return nil
}

// List implements FS.
func (m *Mem) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = path.Clean(dir)
	if m.dirs[dir] == nil {
		return nil, &fs.PathError{Op: "list", Path: dir, Err: fs.ErrNotExist}
	}
	var names []string
	for name := range m.dirs[dir] {
		names = append(names, name)
	}
	for d := range m.dirs {
		if d != dir && path.Dir(d) == dir {
			names = append(names, path.Base(d))
		}
	}
	slices.Sort(names)
	return names, nil
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for dir = path.Clean(dir); m.dirs[dir] == nil; dir = path.Dir(dir) {
		if _, err := m.find("mkdir", dir); err == nil {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: fs.ErrExist}
		}
		m.mkdir(dir)
	}
	return nil
}

// Private implements FS. There is nobody else.
func (m *Mem) Private(string) error { return nil }

// Stat implements FS.
func (m *Mem) Stat(name string) (Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	if m.dirs[name] != nil {
		return Info{IsDir: true}, nil
	}
	inode, err := m.find("stat", name)
	if err != nil {
		return Info{}, err
	}
	return Info{SizeBytes: int64(len(inode.data)), DiskBytes: inode.diskBytes()}, nil
}

// SyncDir implements FS.
func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = path.Clean(dir)
	if m.dirs[dir] == nil {
		return &fs.PathError{Op: "syncdir", Path: dir, Err: fs.ErrNotExist}
	}
	var rest []nameChange
	for _, c := range m.pending {
		if !c.touches(dir) {
			rest = append(rest, c)
			continue
		}
		c.applyTo(m.durable)
		// What came before about the same names is overtaken: a crash must not play it afterwards.
		rest = slices.DeleteFunc(rest, func(old nameChange) bool {
			return old.name != "" && (old.name == c.gone || old.name == c.name)
		})
	}
	m.pending = rest
	return nil
}

// Lock implements FS.
func (m *Mem) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = path.Clean(name)
	if m.locks[name] {
		return nil, fmt.Errorf("lock %s: %w", name, ErrLocked)
	}
	m.locks[name] = true
	return &memLock{mem: m, name: name, epoch: m.epoch}, nil
}

type memLock struct {
	mem   *Mem
	name  string
	epoch int
}

func (l *memLock) Close() error {
	l.mem.mu.Lock()
	defer l.mem.mu.Unlock()
	if l.epoch == l.mem.epoch {
		delete(l.mem.locks, l.name)
	}
	return nil
}

// Crash is a loss of power. Without r everything that was not synced is lost; with r each unsynced
// page and name is by chance lost or kept, and pages are torn. Equal seeds crash equally. Handles
// from before answer ErrCrashed, locks are free.
func (m *Mem) Crash(r *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.pending {
		if r != nil && r.IntN(2) == 0 {
			c.applyTo(m.durable)
		}
	}
	m.pending = nil
	seen := map[*memInode]bool{} // in the sorted order of names, so that r is used in one order
	for _, dir := range sortedKeys(m.durable) {
		m.dirs[dir] = map[string]*memInode{}
		for _, name := range sortedKeys(m.durable[dir]) {
			inode := m.durable[dir][name]
			if !seen[inode] {
				seen[inode] = true
				inode.crash(r)
			}
			m.dirs[dir][name] = inode
		}
	}
	m.killLocked()
}

// Kill is the death of the process alone: bytes and names stay as they were seen, synced or not, so
// that a later Crash can still take them. Handles from before answer ErrCrashed, locks are free.
func (m *Mem) Kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.killLocked()
}

func (m *Mem) killLocked() {
	m.epoch++
	clear(m.locks)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// LoseDirty forgets that a file has unsynced pages without making them durable, as some kernels do
// when a sync fails: the bytes are still read, and no later Sync writes them.
func (m *Mem) LoseDirty(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	inode, err := m.find("lose", path.Clean(name))
	if err != nil {
		return err
	}
	clear(inode.dirty)
	return nil
}
