package vfs

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
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
	if resident(t, name) == 0 {
		t.Skip("this file system does not say what of a file is in the cache, or caches nothing")
	}
	disk := FromDisk(open())
	if n := resident(t, name); n != 0 {
		t.Skipf("%d pages stay in the cache: this file system has no other place for them", n)
	}
	got := make([]byte, len(want))
	if _, err := disk.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("other bytes than were written, %v", err)
	}
	if n := resident(t, name); n != 0 {
		t.Errorf("the reading has left %d pages in the cache", n)
	}
}

// resident is how many pages of a file are in the system's cache. A read that does not wait would tell as well, and
// bring them there.
func resident(t *testing.T, name string) (pages int) {
	t.Helper()
	f, err := os.Open(name)
	must(t, err)
	defer f.Close()
	info, err := f.Stat()
	must(t, err)
	size, page := int(info.Size()), os.Getpagesize()
	mapped, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	must(t, err)
	defer func() { must(t, unix.Munmap(mapped)) }()
	in := make([]byte, (size+page-1)/page)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mapped[0])), uintptr(size),
		uintptr(unsafe.Pointer(&in[0]))); errno != 0 {
		t.Fatal(errno)
	}
	for _, b := range in {
		pages += int(b & 1)
	}
	return pages
}
