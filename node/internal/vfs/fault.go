package vfs

import (
	"errors"
	"io"
	"sync"
)

// Op names a call that Fault can make fail.
type Op string

const (
	OpCreate   Op = "create"
	OpOpen     Op = "open"
	OpRemove   Op = "remove"
	OpRename   Op = "rename"
	OpMkdir    Op = "mkdir"
	OpSyncDir  Op = "syncdir"
	OpRead     Op = "read"
	OpWrite    Op = "write"
	OpSync     Op = "sync"
	OpTruncate Op = "truncate"
	OpAllocate Op = "allocate"
	OpPunch    Op = "punch"
	OpSpace    Op = "space"
)

// Changes reports whether the call changes anything on disk.
func (o Op) Changes() bool { return o != OpOpen && o != OpRead && o != OpSpace }

// Call is a call that is about to be made.
type Call struct {
	Op   Op
	Name string
}

// Partial, returned for an OpWrite, lets the first Bytes be written before the call fails with Err.
type Partial struct {
	Bytes int
	Err   error
}

func (p *Partial) Error() string { return p.Err.Error() }
func (p *Partial) Unwrap() error { return p.Err }

// Fault hands calls on to another FS, unless a hook says that they fail.
type Fault struct {
	inner FS
	mu    sync.Mutex
	hook  func(Call) error // owned by mu; called with mu held, so it may count without a lock
}

var _ FS = (*Fault)(nil)

// NewFault wraps inner. Nothing fails before Set is called.
func NewFault(inner FS) *Fault { return &Fault{inner: inner} }

// Set makes hook decide about each call from now on: nil lets it happen. A nil hook lets all happen.
func (f *Fault) Set(hook func(Call) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

func (f *Fault) ask(op Op, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hook == nil {
		return nil
	}
	return f.hook(Call{Op: op, Name: name})
}

// FailNth returns a hook that fails the nth call of op (counting from 1) with err, and no other.
func FailNth(op Op, n int, err error) func(Call) error {
	return func(c Call) error {
		if c.Op == op {
			if n--; n == 0 {
				return err
			}
		}
		return nil
	}
}

// FailFrom returns a hook that fails every changing call from the nth on (counting from 1): the
// picture of a process that dies there.
func FailFrom(n int, err error) func(Call) error {
	return func(c Call) error {
		if !c.Op.Changes() {
			return nil
		}
		if n--; n <= 0 {
			return err
		}
		return nil
	}
}

// Create implements FS.
func (f *Fault) Create(name string) (File, error) { return f.file(OpCreate, name, f.inner.Create) }

// OpenRW implements FS.
func (f *Fault) OpenRW(name string) (File, error) { return f.file(OpOpen, name, f.inner.OpenRW) }

// OpenRead implements FS.
func (f *Fault) OpenRead(name string) (File, error) { return f.file(OpOpen, name, f.inner.OpenRead) }

// OpenDirect implements FS.
func (f *Fault) OpenDirect(name string) (file File, align int, err error) {
	file, err = f.file(OpOpen, name, func(name string) (file File, err error) {
		file, align, err = f.inner.OpenDirect(name)
		return file, err
	})
	return file, align, err
}

func (f *Fault) file(op Op, name string, open func(string) (File, error)) (File, error) {
	if err := f.ask(op, name); err != nil {
		return nil, err
	}
	file, err := open(name)
	if err != nil {
		return nil, err
	}
	return &faultFile{File: file, fault: f, name: name}, nil
}

// Remove implements FS.
func (f *Fault) Remove(name string) error {
	if err := f.ask(OpRemove, name); err != nil {
		return err
	}
	return f.inner.Remove(name)
}

// Rename implements FS.
func (f *Fault) Rename(from, to string) error {
	if err := f.ask(OpRename, from); err != nil {
		return err
	}
	return f.inner.Rename(from, to)
}

// MkdirAll implements FS.
func (f *Fault) MkdirAll(dir string) error {
	if err := f.ask(OpMkdir, dir); err != nil {
		return err
	}
	return f.inner.MkdirAll(dir)
}

// Private implements FS.
func (f *Fault) Private(dir string) error { return f.inner.Private(dir) }

// SyncDir implements FS.
func (f *Fault) SyncDir(dir string) error {
	if err := f.ask(OpSyncDir, dir); err != nil {
		return err
	}
	return f.inner.SyncDir(dir)
}

// List implements FS.
func (f *Fault) List(dir string) ([]string, error) { return f.inner.List(dir) }

// Stat implements FS.
func (f *Fault) Stat(name string) (Info, error) { return f.inner.Stat(name) }

// Space implements FS.
func (f *Fault) Space(dir string) (Space, error) {
	if err := f.ask(OpSpace, dir); err != nil {
		return Space{}, err
	}
	return f.inner.Space(dir)
}

// Lock implements FS.
func (f *Fault) Lock(name string) (io.Closer, error) { return f.inner.Lock(name) }

type faultFile struct {
	File
	fault *Fault
	name  string
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fault.ask(OpRead, f.name); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.fault.ask(OpWrite, f.name)
	if err == nil {
		return f.File.WriteAt(p, off)
	}
	var part *Partial
	if !errors.As(err, &part) {
		return 0, err
	}
	n, werr := f.File.WriteAt(p[:min(part.Bytes, len(p))], off)
	if werr != nil {
		err = werr
	}
	return n, err
}

func (f *faultFile) Sync() error {
	if err := f.fault.ask(OpSync, f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *faultFile) Truncate(size int64) error {
	if err := f.fault.ask(OpTruncate, f.name); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *faultFile) Allocate(size int64) error {
	if err := f.fault.ask(OpAllocate, f.name); err != nil {
		return err
	}
	return f.File.Allocate(size)
}

func (f *faultFile) Punch(off, n int64) error {
	if err := f.fault.ask(OpPunch, f.name); err != nil {
		return err
	}
	return f.File.Punch(off, n)
}
