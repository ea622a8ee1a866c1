package extent

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/datanode/datanode/node/internal/vfs"
)

func faulty(t *testing.T) (*vfs.Mem, *vfs.Fault, *Store) {
	t.Helper()
	mem := vfs.NewMem()
	fault := vfs.NewFault(mem)
	s, _ := open(t, fault)
	return mem, fault, s
}

// After one failed sync every change fails with one and the same error, and reads go on.
func TestFailedSyncFencesTheStore(t *testing.T) {
	_, fault, s := faulty(t)
	p := pattern(1, 100_000)
	must(t, s.Create(1, 1, 0))
	must(t, s.Create(2, 1, 0))
	must(t, s.Append(1, 1, 0, p))
	fault.Set(vfs.FailNth(vfs.OpSync, 1, syscall.EIO))
	first := wantCode(t, s.Append(1, 1, uint64(len(p)), p), CodeDiskFailed)
	for name, call := range map[string]func() error{
		"append": func() error { return s.Append(2, 1, 0, p) },
		"create": func() error { return s.Create(3, 1, 0) },
		"seal":   func() error { return s.Seal(1, 5) },
		"raise":  func() error { return s.RaiseFence(1, 9) },
		"stage":  func() error { _, err := s.Stage(2, 9, 0); return err },
		"drop":   func() error { return s.Drop(2) },
		"aside":  func() error { return s.Quarantine(2, "test") },
	} {
		if err := call(); err != first {
			t.Errorf("%s: got %v, want the first error again", name, err)
		}
	}
	if s.Failed() != first {
		t.Errorf("Failed() is %v", s.Failed())
	}
	wantBytes(t, s, 1, p)
	info, err := s.Stat(1)
	if err != nil || info.Length != uint64(len(p)) {
		t.Errorf("length %d after the failed append, want %d (%v)", info.Length, len(p), err)
	}
}

// The kernel may drop the pages of a failed sync and still show them. What Open then reports must
// be on disk all the same.
func TestOpenAfterFailedSyncWritesAgain(t *testing.T) {
	mem, fault, s := faulty(t)
	must(t, s.Create(1, 1, 0))
	must(t, s.Append(1, 1, 0, []byte("first ")))
	name := s.dir.extent(1)
	fault.Set(func(c vfs.Call) error {
		if c.Op != vfs.OpSync || c.Name != name {
			return nil
		}
		return errors.Join(mem.LoseDirty(name), syscall.EIO)
	})
	wantCode(t, s.Append(1, 1, 6, []byte("second")), CodeDiskFailed)
	fault.Set(nil)
	mem.Kill()
	s, _ = open(t, fault)
	wantBytes(t, s, 1, []byte("first second"))
	mem.Crash(nil)
	s, report := open(t, fault)
	if len(report.Torn)+len(report.Damaged) > 0 {
		t.Errorf("the second append was shown and is gone:\n%s", report)
	}
	wantBytes(t, s, 1, []byte("first second"))
}

// A full disk fails the call, leaves what was there, and is over when there is room again.
func TestNoSpace(t *testing.T) {
	for _, written := range []int{0, 10, recordHeaderBytes, 70_000, 2 * MaxRecordBytes} {
		t.Run(fmt.Sprintf("after %d bytes", written), func(t *testing.T) {
			mem, fault, s := faulty(t)
			p, q := pattern(1, 5000), pattern(2, 3*MaxRecordBytes)
			must(t, s.Create(1, 1, 0))
			must(t, s.Append(1, 1, 0, p))
			fault.Set(vfs.FailNth(vfs.OpWrite, 1, &vfs.Partial{Bytes: written, Err: syscall.ENOSPC}))
			wantCode(t, s.Append(1, 1, uint64(len(p)), q), CodeNoSpace)
			must(t, s.Failed())
			info, _ := mem.Stat(s.dir.extent(1))
			if want := int64(fileHeaderBytes + recordHeaderBytes + len(p)); info.SizeBytes != want {
				t.Errorf("the file has %d bytes, want %d", info.SizeBytes, want)
			}
			mem.Crash(rand.New(rand.NewPCG(uint64(written), 0)))
			s, report := open(t, fault)
			if report.String() != "extents: 1\n" {
				t.Errorf("report:\n%s", report)
			}
			must(t, s.Append(1, 1, uint64(len(p)), q))
			wantBytes(t, s, 1, append(bytes.Clone(p), q...))
		})
	}
}

// A full disk leaves nothing behind that would make a second try fail.
func TestNoSpaceElsewhere(t *testing.T) {
	calls := map[string]func(*Store) error{
		"create": func(s *Store) error { return s.Create(2, 1, 0) },
		"raise":  func(s *Store) error { return s.RaiseFence(1, 5) },
		"seal":   func(s *Store) error { return s.Seal(1, 1000) },
		"mark":   func(s *Store) error { return s.Seal(1, 5000) },
		"stage":  func(s *Store) error { _, err := s.Stage(1, 5, 0); return err },
		"aside":  func(s *Store) error { return s.Quarantine(1, "test") },
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			_, fault, s := faulty(t)
			must(t, s.Create(1, 1, 0))
			must(t, s.Append(1, 1, 0, pattern(1, 5000)))
			fault.Set(vfs.FailNth(vfs.OpWrite, 1, &vfs.Partial{Bytes: 7, Err: syscall.ENOSPC}))
			wantCode(t, call(s), CodeNoSpace)
			fault.Set(nil)
			must(t, call(s))
			must(t, s.Failed())
		})
	}
}

// Seal inside a record, dying before each step in turn: what is below the cut is always there, and
// sealing again gets it done.
func TestSealDyingAtEveryStep(t *testing.T) {
	p := pattern(3, 3*MaxRecordBytes)
	cut := MaxRecordBytes + 777
	for step, done := 1, false; !done; step++ {
		for seed := range uint64(8) {
			mem, fault, s := faulty(t)
			must(t, s.Create(1, 1, 0))
			must(t, s.Append(1, 1, 0, p))
			fault.Set(vfs.FailFrom(step, &vfs.Partial{Bytes: int(seed) * 300, Err: errDied}))
			done = s.Seal(1, uint64(cut)) == nil
			fault.Set(nil)
			mem.Crash(rand.New(rand.NewPCG(seed, uint64(step))))
			s, report := open(t, fault)
			if len(report.Damaged) > 0 {
				t.Fatalf("step %d, seed %d: report:\n%s", step, seed, report)
			}
			info, err := s.Stat(1)
			must(t, err)
			if n := info.Length; n != uint64(cut) && (done || n != uint64(len(p))) {
				t.Fatalf("step %d, seed %d: length %d, want %d or %d", step, seed, n, cut, len(p))
			}
			must(t, s.Seal(1, uint64(cut)))
			wantBytes(t, s, 1, p[:cut])
			if names, _ := mem.List(s.dir.staging()); len(names) > 0 {
				t.Fatalf("step %d, seed %d: staging holds %v", step, seed, names)
			}
		}
		if step > 50 {
			t.Fatal("Seal takes more than 50 steps")
		}
	}
}

// Quarantine moves, and the second of the same extent does not replace the first.
func TestQuarantine(t *testing.T) {
	mem, _, s := faulty(t)
	for i := range 2 {
		must(t, s.Create(5, Fence(i+1), 0))
		must(t, s.Append(5, Fence(i+1), 0, pattern(uint64(i), 10)))
		must(t, s.Quarantine(5, "no operation explains it"))
		wantCode(t, s.Quarantine(5, "again"), CodeNotFound)
	}
	mem.Crash(nil)
	s, report := open(t, mem)
	if len(s.IDs()) != 0 || len(report.Leftovers) != 0 {
		t.Errorf("ids %v, report:\n%s", s.IDs(), report)
	}
	names, _ := mem.List(s.dir.quarantine())
	if got := fmt.Sprint(names); got != "[5.1.ext 5.1.why 5.2.ext 5.2.why]" {
		t.Errorf("quarantine holds %s", got)
	}
	f, err := mem.OpenRead(path.Join(s.dir.quarantine(), "5.1.why"))
	must(t, err)
	why, _ := readWhole(f)
	if string(why) != "extent 5\nno operation explains it\n" {
		t.Errorf("the note says %q", why)
	}
}

// The fences survive compaction, and damage is told from a torn tail.
func TestFences(t *testing.T) {
	mem, _, s := faulty(t)
	for i := range fenceCompactRecords + 10 {
		must(t, s.RaiseFence(ID(i%3+1), Fence(i+1)))
	}
	must(t, s.RaiseFence(4, 1))
	must(t, s.ForgetFence(4))
	// The rewrite came with record 1024, and left a record for each of three extents; 12 have come since.
	if info, _ := mem.Stat(s.dir.fences()); info.SizeBytes != 15*fenceRecordBytes {
		t.Fatalf("fences file has %d bytes, want %d", info.SizeBytes, 15*fenceRecordBytes)
	}
	must(t, s.Close())
	mem.Crash(nil)
	s, _ = open(t, mem)
	for i := fenceCompactRecords + 7; i < fenceCompactRecords+10; i++ {
		if got := s.Fence(ID(i%3 + 1)); got != Fence(i+1) {
			t.Errorf("extent %d: fence %d, want %d", i%3+1, got, i+1)
		}
	}
	must(t, s.RaiseFence(1, 5000))
	must(t, s.Close())
	flip(t, mem, s.dir.fences(), fenceRecordBytes+3)
	_, report := open(t, mem)
	if report.LostFences != 1 {
		t.Errorf("lost fences: %d, want 1", report.LostFences)
	}
}

// Fences that are raised while a sync is going on share the next one.
func TestFencesShareASync(t *testing.T) {
	_, fault, s := faulty(t)
	const together = 20
	waiting := func() bool {
		s.fences.mu.Lock()
		defer s.fences.mu.Unlock()
		return s.fences.next != nil && len(s.fences.next.raised) == together
	}
	syncs, first := 0, make(chan struct{})
	fault.Set(func(c vfs.Call) error {
		if c.Op != vfs.OpSync {
			return nil
		}
		if syncs++; syncs == 1 {
			close(first)
			for !waiting() {
				runtime.Gosched()
			}
		}
		return nil
	})
	var wg sync.WaitGroup
	raise := func(id ID) {
		wg.Go(func() {
			if err := s.RaiseFence(id, 7); err != nil {
				t.Error(err)
			}
		})
	}
	raise(1)
	<-first
	for i := range together {
		raise(ID(i + 2))
	}
	wg.Wait()
	fault.Set(nil)
	if syncs != 2 {
		t.Errorf("%d syncs for 1 and %d fences, want 2", syncs, together)
	}
	must(t, s.Close())
	s, _ = open(t, fault)
	for id := range ID(together + 1) {
		if s.Fence(id+1) != 7 {
			t.Errorf("extent %d: fence %d, want 7", id+1, s.Fence(id+1))
		}
	}
}
