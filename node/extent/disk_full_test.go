package extent

import (
	"syscall"
	"testing"

	"github.com/datanode/datanode/node/internal/vfs"
)

// fill leaves so many bytes free on a disk in memory.
func fill(t *testing.T, mem *vfs.Mem, free int64) {
	t.Helper()
	mem.Limit(1 << 40)
	space, err := mem.Space("/")
	must(t, err)
	mem.Limit(int64(space.TotalBytes-space.FreeBytes) + free)
}

// On a full disk fences, the end of a seal, a cut and a quarantine find room, if room is made; appends find none.
func TestSmallWritesFindRoom(t *testing.T) {
	mem := vfs.NewMem()
	asked := 0
	s, _, err := Open(mem, "store", Options{MakeRoom: func() bool {
		asked++
		fill(t, mem, int64(1+asked%2*4096)) // the first time it does not help
		return true
	}})
	must(t, err)
	p := pattern(1, 100_000)
	for id := range ID(4) {
		must(t, s.Create(id, 1, 0))
		must(t, s.Append(id, 1, 0, p))
	}
	for name, call := range map[string]func() error{
		"raise": func() error { return s.RaiseFence(9, 9) },
		"seal":  func() error { return s.Seal(0, uint64(len(p))) },
		"cut":   func() error { return s.Seal(1, 5) },
		"aside": func() error { return s.Quarantine(2, "test") },
	} {
		fill(t, mem, 0)
		before := asked
		if err := call(); err != nil || asked == before {
			t.Errorf("%s: room was asked for %d times: %v", name, asked-before, err)
		}
	}
	fill(t, mem, 0)
	before := asked
	wantCode(t, s.Append(3, 1, uint64(len(p)), p), CodeNoSpace)
	if asked != before {
		t.Errorf("an append asked for room %d times", asked-before)
	}
	must(t, s.Drop(3))
	must(t, s.Close())
}

// A start needs no space: neither for a torn tail, nor for fences that are to be written anew, nor for a cut
// that is done again.
func TestOpenNeedsNoSpace(t *testing.T) {
	mem, fault, s := faulty(t)
	p := pattern(1, 100_000)
	for id := range ID(3) {
		must(t, s.Create(id, 1, 0))
		must(t, s.Append(id, 1, 0, p))
	}
	for i := range fenceCompactRecords - 10 {
		must(t, s.RaiseFence(7, Fence(i+2)))
	}
	// Fences that are outdated but could not be written anew for want of a file to do it in.
	fault.Set(func(c vfs.Call) error {
		if c.Op == vfs.OpCreate {
			return syscall.ENOSPC
		}
		return nil
	})
	for i := range 20 {
		must(t, s.RaiseFence(7, Fence(fenceCompactRecords+i)))
	}
	must(t, s.Close())
	f, err := mem.OpenRW(s.dir.extent(2))
	must(t, err)
	size, err := f.Size()
	must(t, err)
	must(t, f.Truncate(size-10))
	fill(t, mem, 0)
	s, report := open(t, mem)
	if len(s.IDs()) != 3 || s.Fence(7) != fenceCompactRecords+19 {
		t.Errorf("extents %v, fence %d\n%s", s.IDs(), s.Fence(7), report)
	}
	must(t, s.Drop(0))
	must(t, s.RaiseFence(7, 1<<20)) // there is room now
}
