package vfs

import (
	"errors"
	"os"
	"syscall"
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
	return Space{FreeBytes: st.Bavail * block, TotalBytes: st.Blocks * block}, nil
}
