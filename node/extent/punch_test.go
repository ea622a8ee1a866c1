package extent

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/datanode/datanode/crc32c"
	"github.com/datanode/datanode/node/internal/vfs"
)

// punchable is a sealed extent whose appends had these lengths, and its bytes.
func punchable(t rapid.TB, s *Store, id ID, lengths []int) []byte {
	t.Helper()
	if err := s.Create(id, 1, 7); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(uint64(id), 5))
	var all []byte
	for _, n := range lengths {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		if err := s.Append(id, 1, uint64(len(all)), p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p...)
	}
	if _, err := s.SealSum(id, uint64(len(all))); err != nil {
		t.Fatal(err)
	}
	return all
}

func punchAll(t rapid.TB, s *Store, id ID, deleted []Range) {
	t.Helper()
	for {
		more, err := s.Punch(id, 7, deleted)
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			return
		}
	}
}

// checkPunched makes sure that all sums are what they were, that what is kept is read, and what is deleted is not.
func checkPunched(t rapid.TB, s *Store, id ID, was []byte, deleted []Range) {
	t.Helper()
	if sum, err := s.Sum(id, uint64(len(was))); err != nil || sum != crc32c.Sum(was) {
		t.Fatalf("sum %08x, want %08x; %v", sum, crc32c.Sum(was), err)
	}
	if sum, err := s.Scrub(id, 7, uint64(len(was)), func(int) error { return nil }); err != nil || sum != crc32c.Sum(was) {
		t.Fatalf("scrub finds %08x, want %08x; %v", sum, crc32c.Sum(was), err)
	}
	for from := 0; from < len(was); from += partSumBytes { // as copies do
		part := make([]byte, min(partSumBytes, len(was)-from))
		_, err := s.ReadAt(id, part, uint64(from))
		if err != nil || crc32c.Sum(part) != crc32c.Sum(was[from:from+len(part)]) {
			t.Fatalf("part at %d: another sum, %v", from, err)
		}
	}
	for _, r := range minus([]Range{{0, uint64(len(was))}}, deleted) {
		p := make([]byte, r.To-r.From)
		if _, _, err := s.ReadSum(id, p, r.From); err != nil || !bytes.Equal(p, was[r.From:r.To]) {
			t.Fatalf("kept bytes %d to %d are others; %v", r.From, r.To, err)
		}
		v, err := s.ReadParts(id, make([]byte, PartsBufferBytes(r.To-r.From)), r.To-r.From, r.From)
		if err != nil || !bytes.Equal(bytes.Join(v.Parts, nil), was[r.From:r.From+uint64(v.Len)]) || v.Len == 0 {
			t.Fatalf("kept bytes from %d are others in parts; %v", r.From, err)
		}
	}
	info, err := s.Stat(id)
	if err != nil || len(info.Damaged) > 0 || info.Broken != "" || info.Cut {
		t.Fatalf("%+v, %v", info, err)
	}
}

func refusesPunched(t rapid.TB, s *Store, id ID, punched []Range) {
	t.Helper()
	for _, r := range punched {
		for _, at := range []Range{r, {r.From, r.From + 1}, {r.To - 1, r.To}, {max(r.From, 1) - 1, r.To}} {
			if _, _, err := s.ReadSum(id, make([]byte, at.To-at.From), at.From); CodeOf(err) != CodePunched {
				t.Fatalf("punched bytes %d to %d: %v", at.From, at.To, err)
			}
			_, err := s.ReadParts(id, make([]byte, PartsBufferBytes(1)), at.To-at.From, at.From)
			if CodeOf(err) != CodePunched {
				t.Fatalf("punched bytes %d to %d in parts: %v", at.From, at.To, err)
			}
		}
	}
}

// Whatever the records are and whatever is deleted of them, in whatever steps: sums stay, what is kept stays, what is
// deleted is refused, also after the store was opened anew, with its footer and without.
func TestPunch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := vfs.NewMem()
		s, _, err := Open(fs, "d", Options{})
		if err != nil {
			t.Fatal(err)
		}
		length := rapid.OneOf(rapid.IntRange(1, 200), rapid.IntRange(3000, 5000), rapid.IntRange(50_000, 150_000))
		lengths := rapid.SliceOfN(length, 1, 40).Draw(t, "lengths")
		was := punchable(t, s, 1, lengths)
		var deleted []Range
		for range rapid.IntRange(1, 3).Draw(t, "steps") {
			for range rapid.IntRange(1, 4).Draw(t, "ranges") {
				first := rapid.IntRange(0, len(lengths)-1).Draw(t, "first")
				from, to := uint64(0), uint64(0)
				for i, n := range lengths[:first+rapid.IntRange(1, len(lengths)-first).Draw(t, "number")] {
					if i < first {
						from += uint64(n)
					}
					to += uint64(n)
				}
				from += rapid.Uint64Range(0, 1).Draw(t, "from inside")
				to -= rapid.Uint64Range(0, 1).Draw(t, "to inside")
				if from < to {
					deleted = union(deleted, []Range{{from, to}})
				}
			}
			punchAll(t, s, 1, deleted)
			checkPunched(t, s, 1, was, deleted)
			refusesPunched(t, s, 1, deleted)
		}
		for _, opts := range []Options{{}, {VerifyAll: true}} {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			var report Report
			if s, report, err = Open(fs, "d", opts); err != nil || len(report.Damaged)+len(report.Torn)+len(report.Footers) > 0 {
				t.Fatalf("%v %v", report, err)
			}
			checkPunched(t, s, 1, was, deleted)
			refusesPunched(t, s, 1, deleted)
		}
		size, err := s.Stat(1)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		f, err := fs.OpenRW(folder("d").extent(1))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(size.PhysicalBytes - 1); err != nil { // no footer
			t.Fatal(err)
		}
		f.Close()
		if s, _, err = Open(fs, "d", Options{}); err != nil {
			t.Fatal(err)
		}
		checkPunched(t, s, 1, was, deleted)
		punchAll(t, s, 1, deleted)
		s.Close()
	})
}

// small is an extent of 64 objects of 4,000 bytes, of which all but every tenth are deleted.
func small() (lengths []int, deleted []Range) {
	for i := range 64 {
		lengths = append(lengths, 4000)
		if i%10 != 3 {
			deleted = union(deleted, []Range{{uint64(i) * 4000, uint64(i+1) * 4000}})
		}
	}
	return lengths, deleted
}

// A crash at each step of a punch, with any part of what was not synced lost or torn: nothing that is kept is lost, no
// sum changes, nothing is called damaged, and the punch is done again.
func TestPunchDyingAtEveryStep(t *testing.T) {
	lengths, deleted := small()
	died := errors.New("died")
	for step := 1; ; step++ {
		for seed := range uint64(6) {
			mem := vfs.NewMem()
			fault := vfs.NewFault(mem)
			s, _, err := Open(fault, "d", Options{})
			if err != nil {
				t.Fatal(err)
			}
			was := punchable(t, s, 1, lengths)
			fault.Set(vfs.FailFrom(step, died))
			_, err = s.Punch(1, 7, deleted)
			if err == nil {
				if step < 10 {
					t.Fatalf("done after %d steps", step)
				}
				return
			}
			if !errors.Is(err, died) {
				t.Fatal(err)
			}
			if seed == 0 {
				mem.Crash(nil)
			} else {
				mem.Crash(rand.New(rand.NewPCG(seed, uint64(step))))
			}
			s, report, err := Open(mem, "d", Options{VerifyAll: seed%2 == 0})
			if err != nil || len(report.Damaged)+len(report.Torn)+len(report.Leftovers) > 0 {
				t.Fatalf("step %d, seed %d: %v %v", step, seed, report, err)
			}
			checkPunched(t, s, 1, was, deleted)
			if _, err := s.SealSum(1, uint64(len(was))); err != nil {
				t.Fatalf("step %d, seed %d: %v", step, seed, err)
			}
			punchAll(t, s, 1, deleted)
			checkPunched(t, s, 1, was, deleted)
			refusesPunched(t, s, 1, deleted)
			s.Close()
		}
	}
}

// A disk that is full refuses a punch, or lets it end, and is none that has failed.
func TestPunchOnAFullDisk(t *testing.T) {
	lengths, deleted := small()
	mem := vfs.NewMem()
	s, _, err := Open(mem, "d", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	was := punchable(t, s, 1, lengths)
	mem.Limit(1 << 30)
	space, err := mem.Space("d")
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for free := int64(0); free < 10_000; free += 50 {
		mem.Limit(1<<30 - int64(space.FreeBytes) + free)
		if _, err := s.Punch(1, 7, deleted[:min(int(1+free/1000), len(deleted))]); CodeOf(err) == CodeNoSpace {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
		if s.Failed() != nil {
			t.Fatal(s.Failed())
		}
		checkPunched(t, s, 1, was, deleted)
	}
	if refused == 0 {
		t.Error("the disk was never full")
	}
	mem.Limit(1 << 30)
	punchAll(t, s, 1, deleted)
	checkPunched(t, s, 1, was, deleted)
	refusesPunched(t, s, 1, deleted)
}

// Whoever reads while the punch is done gets what was there, or is refused: no zeros.
func TestPunchBesideReads(t *testing.T) {
	s, _, err := Open(vfs.NewMem(), "d", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	lengths, deleted := small()
	was := punchable(t, s, 1, lengths)
	done := make(chan error, 4)
	for range cap(done) {
		go func() {
			p := make([]byte, 4000)
			for {
				_, _, err := s.ReadSum(1, p, 0)
				if CodeOf(err) == CodePunched {
					done <- nil
					return
				}
				if err != nil || !bytes.Equal(p, was[:4000]) {
					done <- fmt.Errorf("other bytes: %v", err)
					return
				}
			}
		}()
	}
	punchAll(t, s, 1, deleted)
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// Ranges are added up, taken away and written as the sets that they are.
func TestRanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const end = 40
		draw := func(name string) (rs []Range, in [end]bool) {
			for range rapid.IntRange(0, 6).Draw(t, name) {
				from := rapid.Uint64Range(0, end-1).Draw(t, "from")
				rs = union(rs, []Range{{from, rapid.Uint64Range(from+1, end).Draw(t, "to")}})
			}
			for _, r := range rs {
				for i := r.From; i < r.To; i++ {
					in[i] = true
				}
			}
			return rs, in
		}
		a, inA := draw("a")
		b, inB := draw("b")
		var inUnion, inMinus [end]bool
		for i := range end {
			inUnion[i], inMinus[i] = inA[i] || inB[i], inA[i] && !inB[i]
		}
		for _, c := range []struct {
			got  []Range
			want [end]bool
		}{{union(a, b), inUnion}, {minus(a, b), inMinus}} {
			var got [end]bool
			for i, r := range c.got {
				if r.From >= r.To || i > 0 && r.From <= c.got[i-1].To {
					t.Fatalf("%v", c.got)
				}
				for i := r.From; i < r.To; i++ {
					got[i] = true
				}
			}
			if got != c.want {
				t.Fatalf("of %v and %v: %v", a, b, c.got)
			}
		}
		again, err := parseRanges(appendRanges(nil, a), end)
		if err != nil || !slices.Equal(again, a) {
			t.Fatalf("%v is read as %v, %v", a, again, err)
		}
	})
}
