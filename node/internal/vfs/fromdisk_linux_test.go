package vfs

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// FromDisk reads what the disk has: nothing of the file is left in the system's cache when it is opened so.
func TestFromDisk(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	want := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	f, err := OS{}.Create(name)
	must(t, err)
	_, err = f.WriteAt(want, 0)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
	open := func() File {
		f, err := OS{}.OpenRead(name)
		must(t, err)
		t.Cleanup(func() { f.Close() })
		return f
	}
	held := func(f File) (pages int) {
		for off := int64(0); off < int64(len(want)); off += int64(os.Getpagesize()) {
			if f.(passing).cached(off) {
				pages++
			}
		}
		return pages
	}
	before := Passing(open())
	if held(before) == 0 {
		t.Skip("this file system does not say what of a file is in the cache, or caches nothing")
	}
	disk := FromDisk(open())
	if n := held(disk); n != 0 {
		t.Skipf("%d pages stay in the cache: this file system has no other place for them", n)
	}
	got := make([]byte, len(want))
	if _, err := disk.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("other bytes than were written, %v", err)
	}
	if n := held(before); n != 0 {
		t.Errorf("the reading has left %d pages in the cache", n)
	}
}
