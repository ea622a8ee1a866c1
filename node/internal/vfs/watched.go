package vfs

import (
	"sync/atomic"
	"time"
)

// Watched hands calls on to another FS and knows which of those that change something have not returned yet, so
// that a disk which hangs is noticed while it does. Reads are not watched: a long queue of them is no sign of that.
type Watched struct {
	FS
	now   func() time.Time
	began time.Time
	next  atomic.Uint32
	slots [watchedSlots]atomic.Int64 // nanoseconds after began, of a call that runs; 0: free
}

// watchedSlots is how many calls are watched at once. With as many in it, the disk hangs for others to see.
const watchedSlots = 128

// NewWatched watches inner by a clock.
func NewWatched(inner FS, now func() time.Time) *Watched {
	return &Watched{FS: inner, now: now, began: now().Add(-1)}
}

// Longest is for how long the oldest of the calls that run has been running, zero if none does.
func (w *Watched) Longest() time.Duration {
	var longest time.Duration
	now := w.now().Sub(w.began)
	for i := range w.slots {
		if at := w.slots[i].Load(); at != 0 {
			longest = max(longest, now-time.Duration(at))
		}
	}
	return longest
}

// enter notes that a call begins. leave is to be called with what it answers; nil where there was no slot.
func (w *Watched) enter() *atomic.Int64 {
	at := int64(w.now().Sub(w.began))
	for range watchedSlots {
		slot := &w.slots[w.next.Add(1)%watchedSlots]
		if slot.CompareAndSwap(0, at) {
			return slot
		}
	}
	return nil
}

func leave(slot *atomic.Int64) {
	if slot != nil {
		slot.Store(0)
	}
}

// Create implements FS.
func (w *Watched) Create(name string) (File, error) {
	defer leave(w.enter())
	return w.file(w.FS.Create(name))
}

// OpenRW implements FS.
func (w *Watched) OpenRW(name string) (File, error) { return w.file(w.FS.OpenRW(name)) }

// OpenDirect implements FS.
func (w *Watched) OpenDirect(name string) (File, int, error) {
	f, align, err := w.FS.OpenDirect(name)
	f, err = w.file(f, err)
	return f, align, err
}

func (w *Watched) file(f File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return &watchedFile{File: f, of: w}, nil
}

// Remove implements FS.
func (w *Watched) Remove(name string) error {
	defer leave(w.enter())
	return w.FS.Remove(name)
}

// Rename implements FS.
func (w *Watched) Rename(from, to string) error {
	defer leave(w.enter())
	return w.FS.Rename(from, to)
}

// MkdirAll implements FS.
func (w *Watched) MkdirAll(dir string) error {
	defer leave(w.enter())
	return w.FS.MkdirAll(dir)
}

// Private implements FS.
func (w *Watched) Private(dir string) error {
	defer leave(w.enter())
	return w.FS.Private(dir)
}

// SyncDir implements FS.
func (w *Watched) SyncDir(dir string) error {
	defer leave(w.enter())
	return w.FS.SyncDir(dir)
}

type watchedFile struct {
	File
	of *Watched
}

func (f *watchedFile) WriteAt(p []byte, off int64) (int, error) {
	defer leave(f.of.enter())
	return f.File.WriteAt(p, off)
}

func (f *watchedFile) Sync() error {
	defer leave(f.of.enter())
	return f.File.Sync()
}

func (f *watchedFile) Truncate(size int64) error {
	defer leave(f.of.enter())
	return f.File.Truncate(size)
}

func (f *watchedFile) Allocate(size int64) error {
	defer leave(f.of.enter())
	return f.File.Allocate(size)
}

func (f *watchedFile) Punch(off, n int64) error {
	defer leave(f.of.enter())
	return f.File.Punch(off, n)
}
