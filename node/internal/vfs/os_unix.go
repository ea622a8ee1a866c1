//go:build unix

package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Private implements FS. A folder that a symbolic link leads to is reached by its own MkdirAll.
func (OS) Private(dir string) error {
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // it went while this was looked for
		case errors.Is(err, fs.ErrPermission) && name != root:
			return fs.SkipDir // somebody else's, who keeps it to himself: lost+found
		case err != nil:
			return err
		case !d.IsDir():
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return ownersOnly(name, info)
	})
}

// ownersOnly gives a folder the mode of those that are made here.
func ownersOnly(dir string, info fs.FileInfo) error {
	if info.Mode().Perm() == dirPerm {
		return nil
	}
	return os.Chmod(dir, dirPerm)
}

// SyncDir implements FS.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Lock implements FS with flock, which the kernel releases when the process dies. A file that
// merely exists would have to be removed by hand after a crash.
func (OS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, filePerm)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return f, nil
}

// diskBytes is what a file takes on the disk: POSIX leaves the unit open, and every system has 512 bytes.
func diskBytes(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}
