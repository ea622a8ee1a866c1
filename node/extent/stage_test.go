package extent

import (
	"bytes"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"github.com/datanode/datanode/node/internal/vfs"
)

func sumOf(s string) uint32 { return crc32.Checksum([]byte(s), castagnoli) }

func sumBytes(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// A copy that stopped is gone on with from a prefix that verifies, whatever the crash left of it.
func TestStageResumes(t *testing.T) {
	p := pattern(1, 20*MaxRecordBytes+5)
	for seed := range uint64(20) {
		fs := vfs.NewMem()
		s, _ := open(t, fs)
		st, err := s.Stage(1, 3, 0)
		must(t, err)
		must(t, st.Append(p[:13*MaxRecordBytes+99]))
		must(t, st.Append(p[13*MaxRecordBytes+99:15*MaxRecordBytes]))
		fs.Crash(rand.New(rand.NewPCG(seed, 0)))
		s, report := open(t, fs)
		if len(report.Staged) != 1 || len(s.IDs()) != 0 {
			t.Fatalf("seed %d: ids %v, report:\n%s", seed, s.IDs(), report)
		}
		_, err = s.Stage(1, 2, 0)
		wantCode(t, err, CodeStaleFence)
		st, err = s.Stage(1, 4, 0)
		must(t, err)
		must(t, st.Append(p[st.Len():]))
		must(t, st.Commit(uint64(len(p)), sumBytes(p)))
		wantBytes(t, s, 1, p)
		fs.Crash(nil)
		s, report = open(t, fs)
		if report.String() != "extents: 1\n" {
			t.Fatalf("seed %d: report:\n%s", seed, report)
		}
		wantBytes(t, s, 1, p)
	}
}

// What was synced of a copy is there after a crash, and the next attempt goes on behind it.
func TestStageSyncs(t *testing.T) {
	p := pattern(1, 5*MaxRecordBytes)
	for seed := range uint64(20) {
		fs := vfs.NewMem()
		s, _ := open(t, fs)
		st, err := s.Stage(1, 3, 0)
		must(t, err)
		must(t, st.Append(p))
		if got := st.Unsynced(); got != uint64(len(p)) {
			t.Fatalf("%d bytes of %d are not durable yet", got, len(p))
		}
		must(t, st.Sync())
		if got := st.Unsynced(); got != 0 {
			t.Fatalf("%d bytes are not durable after a sync", got)
		}
		fs.Crash(rand.New(rand.NewPCG(seed, 0)))
		s, _ = open(t, fs)
		st, err = s.Stage(1, 4, 0)
		must(t, err)
		if st.Len() != uint64(len(p)) {
			t.Fatalf("seed %d: %d of %d synced bytes are left", seed, st.Len(), len(p))
		}
	}
}

// A commit reads what an earlier stage has left piece by piece when it is told to. One whose turn does not come fails,
// and can be made again; what was read does not have to be read again.
func TestStagePaces(t *testing.T) {
	s, _ := open(t, vfs.NewMem())
	st, err := s.Stage(1, 3, 0)
	must(t, err)
	p := pattern(1, 3*readWindowBytes+1)
	must(t, st.Append(p))
	must(t, st.Close())
	st, err = s.Stage(1, 3, 0)
	must(t, err)
	pieces, ended := 0, errors.New("ended")
	st.Pace(func(piece func() error) error {
		if pieces++; pieces > 2 {
			return ended
		}
		return piece()
	})
	if err := st.Commit(uint64(len(p)), sumBytes(p)); !errors.Is(err, ended) {
		t.Fatalf("a commit that was ended while it waited: %v", err)
	}
	pieces = 0
	st.Pace(func(piece func() error) error { pieces++; return piece() })
	must(t, st.Commit(uint64(len(p)), sumBytes(p)))
	if pieces != 2 {
		t.Errorf("the rest was read in %d pieces, want 2", pieces)
	}
	wantBytes(t, s, 1, p)
}

// What a stage takes is summed as it comes: its commit reads nothing of it. What it has of an earlier one it reads.
func TestStageSumsAsItGoes(t *testing.T) {
	for _, cut := range []uint64{0, 1, MaxRecordBytes, 2*MaxRecordBytes + 5, 3 * MaxRecordBytes} {
		fs := vfs.NewFault(vfs.NewMem())
		s, _, err := Open(fs, "/data", Options{})
		must(t, err)
		p := pattern(1, 3*MaxRecordBytes)
		st, err := s.Stage(1, 3, 0)
		must(t, err)
		must(t, st.Append(p[:MaxRecordBytes]))
		must(t, st.Sync())
		must(t, st.Append(p[MaxRecordBytes:]))
		must(t, st.Truncate(cut))
		must(t, st.Append(p[cut:]))
		var reads int
		fs.Set(func(c vfs.Call) error {
			if c.Op == vfs.OpRead {
				reads++
			}
			return nil
		})
		wantCode(t, st.Commit(uint64(len(p)), sumBytes(p)^1), CodeCorrupt)
		// The sum up to the last sync is known, too.
		if known := cut <= MaxRecordBytes || cut == uint64(len(p)); known != (reads == 0) {
			t.Errorf("cut to %d and filled again: %d reads", cut, reads)
		}
		must(t, st.Commit(uint64(len(p)), sumBytes(p)))
		wantBytes(t, s, 1, p)
		must(t, s.Close())
	}
}

// A disk that is full in the middle leaves what was durable, and a copy can go on from there.
func TestStageOnAFullDisk(t *testing.T) {
	p := pattern(1, 40*MaxRecordBytes)
	for n := 1; n <= 3; n++ {
		mem := vfs.NewMem()
		fs := vfs.NewFault(mem)
		s, _, err := Open(fs, "/data", Options{})
		must(t, err)
		st, err := s.Stage(1, 3, 0)
		must(t, err)
		const durable = 7*MaxRecordBytes + 3
		must(t, st.Append(p[:durable]))
		must(t, st.Sync())
		fs.Set(vfs.FailNth(vfs.OpWrite, n, &vfs.Partial{Bytes: 4096, Err: syscall.ENOSPC}))
		if err = st.Append(p[durable:]); err == nil {
			err = st.Sync()
		}
		wantCode(t, err, CodeNoSpace)
		if st.Len() != durable || st.Unsynced() != 0 {
			t.Fatalf("write %d: %d bytes are left, %d of them not durable; want %d", n, st.Len(), st.Unsynced(), durable)
		}
		must(t, st.Append(p[durable:]))
		must(t, st.Commit(uint64(len(p)), sumBytes(p)))
		mem.Crash(nil)
		s, _ = open(t, mem)
		wantBytes(t, s, 1, p)
	}
}

func TestStageRefusals(t *testing.T) {
	s, _ := open(t, vfs.NewMem())
	old, err := s.Stage(1, 3, 0)
	must(t, err)
	must(t, old.Append([]byte("hello")))
	wantCode(t, old.Commit(6, sumOf("hello")), CodeTooShort)
	wantCode(t, old.Commit(4, sumOf("hell")), CodeWrongOffset)
	wantCode(t, old.Commit(5, sumOf("other")), CodeCorrupt)
	wantCode(t, old.Truncate(6), CodeTooShort)
	st, err := s.Stage(1, 4, 0)
	must(t, err)
	wantCode(t, old.Append([]byte("x")), CodeClosed)
	wantCode(t, old.Discard(), CodeClosed)
	if st.Len() != 5 {
		t.Fatalf("the second stage begins with %d bytes, want 5", st.Len())
	}
	must(t, s.RaiseFence(1, 5))
	wantCode(t, st.Append([]byte("x")), CodeStaleFence)
	wantCode(t, st.Commit(5, sumOf("hello")), CodeStaleFence)
	st, err = s.Stage(1, 5, 0)
	must(t, err)
	must(t, st.Truncate(4))
	must(t, st.Append([]byte("!")))
	must(t, st.Commit(5, sumOf("hell!")))
	wantCode(t, st.Commit(5, sumOf("hell!")), CodeClosed)
	must(t, st.Close())
	wantBytes(t, s, 1, []byte("hell!"))
	wantCode(t, s.Append(1, 5, 5, []byte("x")), CodeSealed)
}

// A dropped extent does not come back by a copy that was under way.
func TestDropEndsStage(t *testing.T) {
	fs := vfs.NewMem()
	s, _ := open(t, fs)
	must(t, s.Create(1, 1, 0))
	st, err := s.Stage(1, 3, 0)
	must(t, err)
	must(t, st.Append([]byte("hello")))
	must(t, s.Drop(1))
	wantCode(t, st.Append([]byte("x")), CodeNotFound)
	wantCode(t, st.Commit(5, sumOf("hello")), CodeNotFound)
	fs.Crash(nil)
	s, report := open(t, fs)
	if report.String() != "extents: 0\n" || s.Usage() != (Usage{}) {
		t.Errorf("usage %+v, report:\n%s", s.Usage(), report)
	}
	if s.Fence(1) != 3 {
		t.Errorf("fence %d after the drop, want 3", s.Fence(1))
	}
}

func TestDiscard(t *testing.T) {
	fs := vfs.NewMem()
	s, _ := open(t, fs)
	st, err := s.Stage(1, 3, 0)
	must(t, err)
	must(t, st.Append([]byte("hello")))
	must(t, st.Discard())
	if ids := s.Staged(); len(ids) != 0 {
		t.Errorf("staged %v", ids)
	}
	fs.Crash(nil)
	if _, report := open(t, fs); len(report.Staged) != 0 {
		t.Errorf("report:\n%s", report)
	}
}

// Readers, appenders, fences, a repair and drops at once. Every read gives right bytes or says why
// not; appends to other extents are not disturbed. For the race detector above all.
func TestAtOnce(t *testing.T) {
	s, _, err := Open(vfs.NewMem(), "/data", Options{OpenFiles: 2})
	must(t, err)
	const writers, appends = 4, 40
	shared := pattern(9, 3*MaxRecordBytes)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			id, want := ID(10+w), []byte{}
			if err := s.Create(id, 1, 0); err != nil {
				t.Error(err)
			}
			for i := range appends {
				p := pattern(uint64(w*appends+i), 3000)
				if err := s.Append(id, 1, uint64(len(want)), p); err != nil {
					t.Error(err)
				}
				want = append(want, p...)
			}
			got := make([]byte, len(want))
			if _, err := s.ReadAt(id, got, 0); err != nil || !bytes.Equal(got, want) {
				t.Errorf("extent %d: %v", id, err)
			}
		})
	}
	stop := make(chan struct{})
	for range 3 {
		wg.Go(func() { readUntil(t, s, shared, stop) })
	}
	for i := range 20 {
		fence := Fence(i + 1)
		st, err := s.Stage(1, fence, 0)
		must(t, err)
		must(t, st.Append(shared[st.Len():]))
		must(t, st.Commit(uint64(len(shared)), sumBytes(shared)))
		must(t, s.RaiseFence(1, fence))
		if i%2 == 0 {
			must(t, s.Drop(1))
		}
		s.Usage()
	}
	close(stop)
	wg.Wait()
	must(t, s.Close())
}

func readUntil(t *testing.T, s *Store, want []byte, stop chan struct{}) {
	r := rand.New(rand.NewPCG(1, 1))
	for {
		select {
		case <-stop:
			return
		default:
		}
		off := r.IntN(len(want))
		got := make([]byte, r.IntN(len(want)-off)+1)
		n, err := s.ReadAt(1, got, uint64(off))
		if err == nil && !bytes.Equal(got, want[off:off+n]) || err != nil && CodeOf(err) != CodeNotFound {
			t.Errorf("read %d bytes at %d: %v", len(got), off, err)
		}
		sum, err := s.Sum(1, uint64(len(want)))
		switch CodeOf(err) {
		case 0:
			if sum != sumBytes(want) {
				t.Errorf("sum %#x", sum)
			}
		case CodeNotFound, CodeChanged, CodeTooShort:
		default:
			t.Error(err)
		}
	}
}

// What is hidden of a copy is not read from its commit on, but by copies; punched, it stays deleted after a start.
func TestStageHides(t *testing.T) {
	p := pattern(1, 6*MaxRecordBytes)
	fs := vfs.NewMem()
	s, _ := open(t, fs)
	st, err := s.Stage(1, 3, 7)
	must(t, err)
	must(t, st.Append(p))
	gone := []Range{{MaxRecordBytes, 3 * MaxRecordBytes}}
	st.Hide(gone)
	must(t, st.Commit(uint64(len(p)), sumBytes(p)))
	buf := make([]byte, 100)
	_, _, err = s.ReadSum(1, buf, MaxRecordBytes+5)
	wantCode(t, err, CodePunched)
	_, err = s.ReadAt(1, buf, MaxRecordBytes+5)
	must(t, err)
	_, _, err = s.ReadSum(1, buf, 4*MaxRecordBytes)
	must(t, err)
	more, err := s.Punch(1, 7, gone)
	if must(t, err); more {
		t.Error("there is more to punch")
	}
	fs.Crash(nil)
	s, _ = open(t, fs)
	_, _, err = s.ReadSum(1, buf, MaxRecordBytes+5)
	wantCode(t, err, CodePunched)
}
