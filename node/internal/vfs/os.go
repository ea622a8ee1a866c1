package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
)

const (
	filePerm = 0o600
	dirPerm  = 0o700
)

// OS is the operating system's file system. Its zero value is ready for use.
type OS struct{}

var _ FS = OS{}

type osFile struct{ *os.File }

func (f osFile) Sync() error { return datasync(f.File) }

func (f osFile) Allocate(size int64) error { return allocate(f.File, size) }

func (f osFile) Punch(off, n int64) error { return punch(f, off, n) }

// zeros grows a file to size with bytes that are really written, which takes the room.
func zeros(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	p := make([]byte, 256<<10)
	for at := info.Size(); at < size; {
		n, err := f.WriteAt(p[:min(int64(len(p)), size-at)], at)
		if err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func openOS(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, filePerm)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Create implements FS.
func (OS) Create(name string) (File, error) { return openOS(name, os.O_RDWR|os.O_CREATE|os.O_EXCL) }

// OpenRW implements FS.
func (OS) OpenRW(name string) (File, error) { return openOS(name, os.O_RDWR) }

// OpenRead implements FS.
func (OS) OpenRead(name string) (File, error) { return openOS(name, os.O_RDONLY) }

// Remove implements FS.
func (OS) Remove(name string) error { return os.Remove(name) }

// Rename implements FS.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// List implements FS.
func (OS) List(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	sort.Strings(names)
	return names, err
}

// MkdirAll implements FS. Each new folder's parent is synced, deepest last, because a folder whose
// own name is lost takes everything in it along.
func (o OS) MkdirAll(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return ownersOnly(dir, info)
	}
	return o.mkdirAll(dir)
}

func (o OS) mkdirAll(dir string) error {
	info, err := os.Stat(dir)
	if err == nil && info.IsDir() {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := o.mkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, dirPerm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return o.SyncDir(parent)
}

// Stat implements FS.
func (OS) Stat(name string) (Info, error) {
	info, err := os.Stat(name)
	if err != nil {
		return Info{}, err
	}
	return Info{SizeBytes: info.Size(), DiskBytes: diskBytes(info), IsDir: info.IsDir(), Modified: info.ModTime()}, nil
}
