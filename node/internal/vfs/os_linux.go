package vfs

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// datasync is fdatasync: it leaves out the times, which saves a journal write for each append that
// does not grow the file, and includes the size, which recovery needs.
func datasync(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var syncErr error
	err = conn.Control(func(fd uintptr) {
		for {
			if syncErr = syscall.Fdatasync(int(fd)); syncErr != syscall.EINTR {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	if syncErr != nil {
		return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: syncErr}
	}
	return nil
}

// allocate is fallocate, and zeros where the file system has none of it.
func allocate(f *os.File, size int64) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var allocErr error
	err = conn.Control(func(fd uintptr) {
		for {
			if allocErr = syscall.Fallocate(int(fd), 0, 0, size); allocErr != syscall.EINTR {
				return
			}
		}
	})
	switch {
	case err != nil:
		return err
	case errors.Is(allocErr, syscall.EOPNOTSUPP):
		return zeros(f, size)
	case allocErr != nil:
		return &os.PathError{Op: "fallocate", Path: f.Name(), Err: allocErr}
	}
	return nil
}

// punch is fallocate with FALLOC_FL_PUNCH_HOLE. Not on btrfs: what is punched there of a file that is written in small
// pieces stays taken by the parts of its blocks that are left, and shows in no count but the disk's.
func punch(f osFile, off, n int64) error {
	err := f.control(func(fd int) error {
		var st unix.Statfs_t
		if err := again(func() error { return unix.Fstatfs(fd, &st) }); err != nil {
			return err
		}
		if st.Type == unix.BTRFS_SUPER_MAGIC {
			return errors.ErrUnsupported
		}
		const mode = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
		return again(func() error { return unix.Fallocate(fd, mode, off, n) })
	})
	switch {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS), errors.Is(err, errors.ErrUnsupported):
		return errors.ErrUnsupported
	case err != nil:
		return &os.PathError{Op: "punch", Path: f.Name(), Err: err}
	}
	return nil
}

// again repeats a call that a signal has interrupted.
func again(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// OpenDirect implements FS. Only an alignment that the file system itself reports is believed: some of those that
// report none take such a file all the same, and write it through the cache.
func (OS) OpenDirect(name string) (File, int, error) {
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_DIRECT, filePerm)
	if errors.Is(err, unix.EINVAL) {
		return nil, 0, fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	if err != nil {
		return nil, 0, err
	}
	o := osFile{f}
	align, err := directAlign(o)
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return o, align, nil
}

// directAlign is what a file system says that reads and writes past the cache must be multiples of.
func directAlign(f osFile) (int, error) {
	var st unix.Statx_t
	err := f.control(func(fd int) error {
		return unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st)
	})
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	align := max(st.Dio_mem_align, st.Dio_offset_align, minAlign)
	if st.Mask&unix.STATX_DIOALIGN == 0 || st.Dio_mem_align == 0 || st.Dio_offset_align == 0 ||
		align > maxAlign || align&(align-1) != 0 {
		return 0, errors.ErrUnsupported
	}
	return int(align), nil
}

// Space implements FS.
func (OS) Space(dir string) (Space, error) {
	var st syscall.Statfs_t
	for {
		err := syscall.Statfs(dir, &st)
		if err == nil {
			break
		}
		if err != syscall.EINTR {
			return Space{}, &os.PathError{Op: "statfs", Path: dir, Err: err}
		}
	}
	block := uint64(st.Frsize)
	s := Space{FreeBytes: st.Bavail * block, TotalBytes: st.Blocks * block}
	switch int64(st.Type) {
	case unix.EXT4_SUPER_MAGIC:
		s.Kind = "ext4" // or one before it, which says the same of itself
	case unix.XFS_SUPER_MAGIC:
		s.Kind = "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		s.Kind = "btrfs"
	case unix.FUSE_SUPER_MAGIC:
		s.Kind = "fuse"
	}
	return s, nil
}

// passing reads a file without leaving in the system's cache what was not there: what is read once only shall not
// push out what others read all the time.
type passing struct {
	File
	f *os.File
}

// Passing is f for reading it once, as a whole: it leaves the system's cache as it was. f must be a file that nobody
// else reads: what is read ahead of its readers would stay. Where the system has no way to do this it is f.
func Passing(f File) File {
	o, ok := f.(osFile)
	if !ok {
		return f
	}
	p := passing{File: f, f: o.File}
	// Read ahead, the next piece would look as if it had been in the cache before. A failure costs some cache.
	_ = p.control(func(fd int) error { return unix.Fadvise(fd, 0, 0, unix.FADV_RANDOM) })
	return p
}

// FromDisk is Passing for reading what the disk has, and not what is left of it in the system's cache: after a sync
// that failed the cache has bytes that never came to the disk, and drops them when it likes. f must have been synced
// since it was last written. Where the system has no way to do this it is f.
func FromDisk(f File) File {
	passing, ok := Passing(f).(passing)
	if !ok {
		return f
	}
	// A failure has the cache read, as Passing does.
	_ = passing.control(func(fd int) error { return unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED) })
	return passing
}

func (p passing) ReadAt(b []byte, off int64) (int, error) {
	cached := p.cached(off)
	n, err := p.File.ReadAt(b, off)
	if !cached && n > 0 {
		page := int64(os.Getpagesize())
		from := off - off%page // the page that the piece before this one has left
		// A failure leaves the bytes in the cache, no more.
		_ = p.control(func(fd int) error { return unix.Fadvise(fd, from, off+int64(n)-from, unix.FADV_DONTNEED) })
	}
	return n, err
}

// cached reports whether the byte at off can be had without the disk. Where that is not known it says that it can.
func (p passing) cached(off int64) bool {
	var pages unix.Cachestat_t
	err := p.control(func(fd int) error {
		return unix.Cachestat(uint(fd), &unix.CachestatRange{Off: uint64(off), Len: 1}, &pages, 0)
	})
	if err == nil {
		return pages.Cache > 0
	}
	// Before Linux 6.5. It begins to read what is not there, and now and then has read it by the time it looks.
	var b [1]byte
	err = p.control(func(fd int) error {
		_, err := unix.Preadv2(fd, [][]byte{b[:]}, off, unix.RWF_NOWAIT)
		return err
	})
	return !errors.Is(err, unix.EAGAIN)
}

func (p passing) control(do func(fd int) error) error { return osFile{p.f}.control(do) }

func (f osFile) control(do func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var done error
	if err := conn.Control(func(fd uintptr) { done = do(int(fd)) }); err != nil {
		return err
	}
	return done
}
