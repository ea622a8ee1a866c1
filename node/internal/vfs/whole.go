package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
)

// ReadFile is the content of a file of at most limit bytes.
func ReadFile(fsys FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.OpenRead(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%s has %d bytes, want at most %d", name, size, limit)
	}
	p := make([]byte, size)
	if n, err := f.ReadAt(p, 0); err != nil && (!errors.Is(err, io.EOF) || n < len(p)) {
		return nil, err
	}
	return p, nil
}

// ReplaceFile makes p the content of a file, in one step and durably: a crash leaves the old content
// or the new one. What an earlier crash left of the new one is overwritten.
func ReplaceFile(fsys FS, name string, p []byte) error {
	next := name + ".new"
	if err := fsys.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := fsys.Create(next)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(p, 0)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", next, err)
	}
	if err := fsys.Rename(next, name); err != nil {
		return err
	}
	return fsys.SyncDir(path.Dir(name))
}

// KeepFile is ReplaceFile that writes nothing when the content is p already, which needs no space on the disk.
func KeepFile(fsys FS, name string, p []byte) error {
	have, err := ReadFile(fsys, name, int64(len(p)))
	if err != nil || !bytes.Equal(have, p) {
		return ReplaceFile(fsys, name, p)
	}
	f, err := fsys.OpenRW(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close()) // the process before this one may have died before it had synced
}
