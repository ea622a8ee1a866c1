package vfs

import (
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"syscall"
)

const (
	pageBytes   = 4096 // the unit that is written back, or not, in a crash
	sectorBytes = 512  // the unit that a disk writes whole
)

// memInode is a file's bytes. Mem.mu owns it.
type memInode struct {
	data    []byte             // what readers see
	durable []byte             // what a crash that loses everything leaves
	dirty   map[int64]struct{} // pages in which data and durable may differ
}

func newInode() *memInode { return &memInode{dirty: map[int64]struct{}{}} }

func (n *memInode) touch(from, to int64) {
	for p := from / pageBytes; p*pageBytes < to; p++ {
		n.dirty[p] = struct{}{}
	}
}

func (n *memInode) write(p []byte, off int64) {
	end := off + int64(len(p))
	if end > int64(len(n.data)) {
		n.touch(int64(len(n.data)), end)
		n.data = resized(n.data, end)
	}
	n.touch(off, end)
	copy(n.data[off:], p)
}

func (n *memInode) truncate(size int64) {
	n.touch(min(size, int64(len(n.data))), max(size, int64(len(n.data))))
	n.data = resized(n.data, size)
}

func (n *memInode) punch(from, to int64) {
	if to = min(to, int64(len(n.data))); from < to {
		n.touch(from, to)
		clear(n.data[from:to])
	}
}

// diskBytes is what the file takes: blocks of zeros take nothing.
func (n *memInode) diskBytes() (sum int64) {
	const blockBytes = 4 << 10
	for block := range slices.Chunk(n.data, blockBytes) {
		if slices.ContainsFunc(block, func(b byte) bool { return b != 0 }) {
			sum += blockBytes
		}
	}
	return sum
}

func (n *memInode) sync() {
	n.durable = resized(n.durable, int64(len(n.data)))
	for p := range n.dirty {
		if from := p * pageBytes; from < int64(len(n.data)) {
			copy(n.durable[from:], n.data[from:min(from+pageBytes, int64(len(n.data)))])
		}
	}
	clear(n.dirty)
}

// crash forgets what was not synced. With r, each unsynced page is by chance lost, kept or torn at
// a sector, and the size is the old one, the new one or one in between.
func (n *memInode) crash(r *rand.Rand) {
	if r != nil {
		n.durable = n.torn(r)
	}
	n.data = slices.Clone(n.durable)
	clear(n.dirty)
}

func (n *memInode) torn(r *rand.Rand) []byte {
	was, is := int64(len(n.durable)), int64(len(n.data))
	size := was
	if was != is {
		switch low, high := min(was, is), max(was, is); r.IntN(3) {
		case 0:
			size = is
		case 1:
			size = low + r.Int64N(high-low+1)
		}
	}
	out := resized(slices.Clone(n.durable), size)
	pages := make([]int64, 0, len(n.dirty))
	for p := range n.dirty {
		pages = append(pages, p)
	}
	slices.Sort(pages)
	for _, p := range pages {
		from, to := p*pageBytes, (p+1)*pageBytes
		switch r.IntN(3) {
		case 0:
			continue
		case 1:
			to = from + sectorBytes*r.Int64N(pageBytes/sectorBytes)
		}
		for i := from; i < min(to, size); i++ {
			out[i] = 0
			if i < is {
				out[i] = n.data[i]
			}
		}
	}
	return out
}

// resized returns b with the given length; what is new is zero, also after an earlier cut.
func resized(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size]
	}
	was := len(b)
	b = slices.Grow(b, int(size)-was)[:size]
	clear(b[was:])
	return b
}

// memFile is a handle. It works until it is closed or the Mem crashes.
type memFile struct {
	mem      *Mem
	inode    *memInode
	name     string
	epoch    int
	readOnly bool
	closed   bool // owned by mem.mu
}

// usable is called with mem.mu held.
func (f *memFile) usable(op string, write bool) error {
	switch {
	case f.closed:
		return &fs.PathError{Op: op, Path: f.name, Err: fs.ErrClosed}
	case f.epoch != f.mem.epoch:
		return &fs.PathError{Op: op, Path: f.name, Err: ErrCrashed}
	case write && f.readOnly:
		return &fs.PathError{Op: op, Path: f.name, Err: fs.ErrPermission}
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.mem.mu.Lock()
	defer f.mem.mu.Unlock()
	if err := f.usable("read", false); err != nil {
		return 0, err
	}
	if off >= int64(len(f.inode.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.inode.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.mem.mu.Lock()
	defer f.mem.mu.Unlock()
	if err := f.usable("write", true); err != nil {
		return 0, err
	}
	fits := len(p)
	if grows := off + int64(len(p)) - int64(len(f.inode.data)); grows > 0 {
		fits -= int(min(max(grows-f.mem.freeLocked(), 0), int64(len(p))))
	}
	f.inode.write(p[:fits], off)
	if fits < len(p) {
		return fits, f.full("write")
	}
	return len(p), nil
}

// memDirect is a handle that takes whole blocks only.
type memDirect struct{ *memFile }

func (f *memDirect) ReadAt(p []byte, off int64) (int, error) {
	if err := errUnaligned(p, off, memAlign); err != nil {
		return 0, &fs.PathError{Op: "read", Path: f.name, Err: err}
	}
	return f.memFile.ReadAt(p, off)
}

func (f *memDirect) WriteAt(p []byte, off int64) (int, error) {
	if err := errUnaligned(p, off, memAlign); err != nil {
		return 0, &fs.PathError{Op: "write", Path: f.name, Err: err}
	}
	return f.memFile.WriteAt(p, off)
}

func (f *memFile) full(op string) error {
	return &fs.PathError{Op: op, Path: f.name, Err: syscall.ENOSPC}
}

func (f *memFile) Allocate(size int64) error {
	f.mem.mu.Lock()
	defer f.mem.mu.Unlock()
	if err := f.usable("allocate", true); err != nil {
		return err
	}
	switch grows := size - int64(len(f.inode.data)); {
	case grows > f.mem.freeLocked():
		return f.full("allocate")
	case grows > 0:
		f.inode.truncate(size)
	}
	return nil
}

func (f *memFile) Punch(off, n int64) error {
	f.mem.mu.Lock()
	defer f.mem.mu.Unlock()
	if err := f.usable("punch", true); err != nil {
		return err
	}
	f.inode.punch(off, off+n)
	return nil
}

func (f *memFile) Truncate(size int64) error {
	f.mem.mu.Lock()
	defer f.mem.mu.Unlock()
	if err := f.usable("truncate", true); err != nil {
		return err
	}
	f.inode.truncate(size)
	return nil
}

func (f *memFile) Sync() error {
	f.mem.mu.Lock()
	defer f.mem.mu.Unlock()
	if err := f.usable("sync", false); err != nil {
		return err
	}
	f.inode.sync()
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.mem.mu.Lock()
	defer f.mem.mu.Unlock()
	if err := f.usable("size", false); err != nil {
		return 0, err
	}
	return int64(len(f.inode.data)), nil
}

func (f *memFile) Close() error {
	f.mem.mu.Lock()
	defer f.mem.mu.Unlock()
	if f.closed {
		return &fs.PathError{Op: "close", Path: f.name, Err: fs.ErrClosed}
	}
	f.closed = true
	return nil
}
