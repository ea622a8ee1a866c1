package extent

import (
	"errors"
	"io"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/datanode/datanode/node/internal/vfs"
)

// prefixOf fails unless what an extent has is a beginning of p, and says how long it is.
func prefixOf(t *testing.T, s *Store, id ID, p []byte) int {
	t.Helper()
	info, err := s.Stat(id)
	must(t, err)
	got := make([]byte, info.Length)
	if _, err := s.ReadAt(id, got, 0); err != nil {
		t.Fatal(err)
	}
	if len(got) > len(p) || string(got) != string(p[:len(got)]) {
		t.Fatalf("%d bytes are there that are not the beginning of what was put", len(got))
	}
	return len(got)
}

// What Sync has returned for is there after a crash, and nothing that was not put, wherever the crash comes; and the
// extent never says that it is longer than what is durable.
func TestStreamCrash(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 0))
		mem, _, s := faulty(t)
		p := pattern(seed, 18<<20) // more than fits between two syncs of a stream
		must(t, s.Create(1, 1, 0))
		w, err := s.Stream(1, 1, 0)
		must(t, err)
		at, stop := 0, r.IntN(len(p))
		for at < stop {
			n := min(r.IntN(600<<10)+1, len(p)-at)
			must(t, w.Append(p[at:at+n]))
			if at += n; r.IntN(20) == 0 {
				must(t, w.Sync())
				if got := prefixOf(t, s, 1, p); got != at {
					t.Fatalf("%d bytes after a sync of %d", got, at)
				}
			}
		}
		shown := prefixOf(t, s, 1, p)
		if at-shown >= streamSyncBytes {
			t.Fatalf("of %d bytes %d are durable: more than %d are at stake", at, shown, streamSyncBytes)
		}
		mem.Crash(r)
		s, report := open(t, mem)
		if len(report.Damaged) > 0 {
			t.Fatalf("seed %d: bytes that nobody was told of are called damaged:\n%s", seed, report)
		}
		if got := prefixOf(t, s, 1, p); got < shown || got > at {
			t.Fatalf("seed %d: %d bytes after the crash, %d were durable, %d were put", seed, got, shown, at)
		}
		if info, err := s.Stat(1); err != nil || info.Floor != 0 {
			t.Fatalf("%d bytes are said to be acknowledged, and none are: %v", info.Floor, err)
		}
		must(t, s.Close())
	}
}

// A fence that is raised, as a seal does first, is answered with a length that stays; the stream takes no more, and
// its writer can read all that it was told is there.
func TestStreamEndsWithAFence(t *testing.T) {
	mem, _, s := faulty(t)
	p := pattern(1, 300_000)
	must(t, s.Create(1, 1, 0))
	w, err := s.Stream(1, 1, 0)
	must(t, err)
	must(t, w.Append(p))
	if got := prefixOf(t, s, 1, p); got != 0 {
		t.Fatalf("%d bytes count that are not durable", got)
	}
	must(t, s.RaiseFence(1, 2))
	if got := prefixOf(t, s, 1, p); got != len(p) {
		t.Fatalf("%d of %d bytes are there after the fence was raised", got, len(p))
	}
	if err := w.Append(p); err == nil {
		t.Fatal("a stream under a lower fence took more")
	}
	if err := w.Sync(); err == nil {
		t.Fatal("a stream under a lower fence said that all is durable")
	}
	_, err = s.Stream(1, 1, uint64(len(p)))
	wantCode(t, err, CodeStaleFence)
	mem.Crash(nil)
	s, _ = open(t, mem)
	if got := prefixOf(t, s, 1, p); got != len(p) {
		t.Fatalf("%d of %d bytes are there after a crash", got, len(p))
	}
	must(t, s.Seal(1, 250_000))
	wantBytes(t, s, 1, p[:250_000])
}

// A stream goes on behind what Append has added, and Append behind it; records carry only what was acknowledged before.
func TestStreamBetweenAppends(t *testing.T) {
	mem, _, s := faulty(t)
	p := pattern(3, 400_000)
	must(t, s.Create(1, 1, 0))
	must(t, s.Append(1, 1, 0, p[:1000]))
	_, err := s.Stream(1, 1, 999)
	wantCode(t, err, CodeWrongOffset)
	w, err := s.Stream(1, 1, 1000)
	must(t, err)
	must(t, w.Append(p[1000:250_000]))
	must(t, w.Append(p[250_000:300_000]))
	must(t, w.Close())
	must(t, w.Close())
	must(t, s.Append(1, 1, 300_000, p[300_000:]))
	mem.Crash(nil)
	s, report := open(t, mem)
	wantBytes(t, s, 1, p)
	if info, err := s.Stat(1); err != nil || info.Floor != 300_000 {
		t.Fatalf("%d bytes are known to be acknowledged, want 300000: %v\n%s", info.Floor, err, report)
	}
}

// A full disk ends a stream and leaves what is durable; a failed one fences the store. Neither leaves a file open, and
// a drop takes a stream with it.
func TestStreamFaults(t *testing.T) {
	for name, c := range map[string]struct {
		op   vfs.Op
		err  error
		want Code
	}{
		"full": {vfs.OpWrite, syscall.ENOSPC, CodeNoSpace}, "write": {vfs.OpWrite, syscall.EIO, CodeDiskFailed},
		"sync": {vfs.OpSync, syscall.EIO, CodeDiskFailed}, "full at the sync": {vfs.OpSync, syscall.ENOSPC, CodeDiskFailed},
	} {
		mem, fault, s := faulty(t)
		p := pattern(5, 2<<20)
		must(t, s.Create(1, 1, 0))
		w, err := s.Stream(1, 1, 0)
		must(t, err)
		must(t, w.Append(p[:100_000]))
		must(t, w.Sync())
		must(t, w.Append(p[100_000:]))
		fault.Set(vfs.FailNth(c.op, 1, c.err))
		first := wantCode(t, w.Sync(), c.want)
		if err := w.Append(p); !errors.Is(err, first) {
			t.Errorf("%s: then the stream says %v", name, err)
		}
		w.Close()
		if got := prefixOf(t, s, 1, p); got != 100_000 {
			t.Errorf("%s: %d bytes are there, 100000 are durable", name, got)
		}
		if c.want == CodeNoSpace {
			must(t, s.Append(1, 1, 100_000, p[100_000:200_000]))
			w, err := s.Stream(1, 1, 200_000)
			must(t, err)
			must(t, w.Append(p[200_000:]))
			must(t, s.Drop(1))
			if err := w.Append(p); err == nil {
				t.Error("a stream of an extent that was dropped took more")
			}
			if len(s.files.open) != 0 {
				t.Errorf("%d files are open", len(s.files.open))
			}
		}
		mem.Crash(nil)
		s, _ = open(t, mem)
		if _, err := s.ReadAt(1, make([]byte, 1), 0); c.want != CodeNoSpace && err != nil && !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
