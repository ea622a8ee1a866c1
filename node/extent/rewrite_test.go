package extent

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/datanode/datanode/crc32c"
	"github.com/datanode/datanode/node/internal/vfs"
)

// rewriteOf is a rewrite of an extent that holds was, for the whole of it.
func rewriteOf(fence Fence, was []byte, deleted []Range) Rewrite {
	sum := crc32c.Sum(was)
	return Rewrite{Fence: fence, Birth: 7, Length: uint64(len(was)), Sum: &sum, Deleted: deleted, Pace: atOnce}
}

func atOnce(piece func() error) error { return piece() }

// drawRanges are some of an extent of a length.
func drawRanges(t *rapid.T, length uint64) (ranges []Range) {
	for range rapid.IntRange(1, 4).Draw(t, "ranges") {
		from := rapid.Uint64Range(0, length-1).Draw(t, "from")
		ranges = union(ranges, []Range{{from, rapid.Uint64Range(from+1, length).Draw(t, "to")}})
	}
	return ranges
}

// Whatever the records are, and whatever is deleted and punched of them before a rewrite and after: sums stay, what is
// kept stays, what is deleted is refused, also after the store was opened anew, with its footer and without.
func TestRewrite(t *testing.T) {
	rewrites := 0
	rapid.Check(t, func(t *rapid.T) {
		fs := vfs.NewMem()
		s, _, err := Open(fs, "d", Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { s.Close() }()
		length := rapid.OneOf(rapid.IntRange(1, 200), rapid.IntRange(3000, 5000), rapid.IntRange(50_000, 150_000))
		lengths := rapid.SliceOfN(length, 1, 40).Draw(t, "lengths")
		was := punchable(t, s, 1, lengths)
		var deleted []Range
		for i := range rapid.IntRange(1, 4).Draw(t, "steps") {
			deleted = union(deleted, drawRanges(t, uint64(len(was))))
			if rapid.Bool().Draw(t, "punched first") {
				punchAll(t, s, 1, deleted)
			}
			switch _, err := s.Rewrite(1, rewriteOf(Fence(2+i), was, deleted)); {
			case err == nil:
				rewrites++
				refusesPunched(t, s, 1, deleted)
			case CodeOf(err) != CodeUnsupported: // it would be no smaller
				t.Fatal(err)
			}
			checkPunched(t, s, 1, was, deleted)
			if now, then, ok := s.Shrinks(1, 7, deleted); err == nil && ok && then < now-now/2-blockBytes {
				t.Fatalf("rewritten to %d bytes, it would be %d", now, then)
			}
		}
		stubs := s.extents[1].stubBytes
		for _, opts := range []Options{{}, {VerifyAll: true}} {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			var report Report
			if s, report, err = Open(fs, "d", opts); err != nil || len(report.Damaged)+len(report.Torn)+len(report.Footers) > 0 {
				t.Fatalf("%v %v", report, err)
			}
			checkPunched(t, s, 1, was, deleted)
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
		if got := s.extents[1].stubBytes; got != stubs {
			t.Fatalf("without its footer the file has stubs for %d bytes, with it for %d", got, stubs)
		}
		punchAll(t, s, 1, deleted)
		checkPunched(t, s, 1, was, deleted)
	})
	if rewrites == 0 {
		t.Error("nothing was rewritten")
	}
}

// A rewrite of small objects gives back what a punch cannot.
func TestRewriteGivesBack(t *testing.T) {
	s, _ := open(t, vfs.NewMem())
	lengths, deleted := small()
	was := punchable(t, s, 1, lengths)
	punchAll(t, s, 1, deleted)
	now, then, ok := s.Shrinks(1, 7, deleted)
	done, err := s.Rewrite(1, rewriteOf(2, was, deleted))
	must(t, err)
	if !ok || now != done.Before || done.After > then+2*blockBytes || done.After > now*3/4 || done.After < 6*4000 {
		t.Errorf("%d bytes, to be %d (%v): %+v", now, then, ok, done)
	}
	if info, err := s.Stat(1); err != nil || info.PhysicalBytes > done.After || info.Created != 2 {
		t.Errorf("%+v, %v", info, err)
	}
	checkPunched(t, s, 1, was, deleted)
	refusesPunched(t, s, 1, deleted)
	if now, then, _ := s.Shrinks(1, 7, deleted); then < now-2*blockBytes {
		t.Errorf("it would shrink again, from %d to %d", now, then)
	}
	deleted = union(deleted, []Range{{0, uint64(len(was)) / 2}}) // and is rewritten again as more is deleted
	punchAll(t, s, 1, deleted)
	again, err := s.Rewrite(1, rewriteOf(3, was, deleted))
	must(t, err)
	if again.After >= done.After {
		t.Errorf("%+v, then %+v", done, again)
	}
	checkPunched(t, s, 1, was, deleted)
	refusesPunched(t, s, 1, deleted)
}

// rewritten is a store with one extent of small objects, on a disk that can fail and crash.
func rewritten(t *testing.T) (mem *vfs.Mem, fault *vfs.Fault, s *Store, was []byte, deleted []Range) {
	t.Helper()
	mem, fault, s = faulty(t)
	lengths, deleted := small()
	return mem, fault, s, punchable(t, s, 1, lengths), deleted
}

// A crash at each step of a rewrite, with any part of what was not synced lost or torn: the replica is as it was, or
// rewritten, and nothing is left of a rewrite that died.
func TestRewriteDyingAtEveryStep(t *testing.T) {
	died := errors.New("died")
	after := 0
	for step := 1; ; step++ {
		for seed := range uint64(6) {
			mem, fault, s, was, deleted := rewritten(t)
			fault.Set(vfs.FailFrom(step, died))
			_, err := s.Rewrite(1, rewriteOf(2, was, deleted))
			if err == nil {
				if step < 8 || after == 0 {
					t.Fatalf("done after %d steps; %d crashes left the new file", step, after)
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
			s, report, err := Open(mem, "/data", Options{VerifyAll: seed%2 == 0})
			if err != nil || len(report.Damaged)+len(report.Torn)+len(report.Leftovers)+len(report.Staged) > 0 {
				t.Fatalf("step %d, seed %d: %v %v", step, seed, report, err)
			}
			if names, err := mem.List(s.dir.staging()); err != nil || len(names) > 0 {
				t.Fatalf("step %d, seed %d: left in staging: %v %v", step, seed, names, err)
			}
			checkPunched(t, s, 1, was, deleted)
			if _, err := s.SealSum(1, uint64(len(was))); err != nil {
				t.Fatalf("step %d, seed %d: %v", step, seed, err)
			}
			if s.extents[1].stubs {
				after++
			} else if _, err := s.Rewrite(1, rewriteOf(3, was, deleted)); err != nil {
				t.Fatalf("step %d, seed %d: %v", step, seed, err)
			}
			checkPunched(t, s, 1, was, deleted)
			refusesPunched(t, s, 1, deleted)
			s.Close()
		}
	}
}

// One call of the disk that fails: the replica can be read whatever came of the rewrite, and the store says when it is
// not to be written to any more.
func TestRewriteFailingAtEveryStep(t *testing.T) {
	for _, why := range []error{syscall.EIO, syscall.ENOSPC} {
		for step, done := 1, false; !done; step++ {
			_, fault, s, was, deleted := rewritten(t)
			calls := 0
			fault.Set(func(c vfs.Call) error {
				if c.Op.Changes() || c.Op == vfs.OpRead {
					calls++
				}
				if calls == step && (c.Op.Changes() || c.Op == vfs.OpRead) {
					return why
				}
				return nil
			})
			_, err := s.Rewrite(1, rewriteOf(2, was, deleted))
			done = calls < step
			fault.Set(nil)
			if done != (err == nil) {
				t.Fatalf("step %d: %v", step, err)
			}
			checkPunched(t, s, 1, was, deleted)
			if s.Failed() != nil {
				continue
			}
			if names, err := fault.List(s.dir.staging()); err != nil || len(names) > 0 {
				t.Fatalf("step %d: left in staging: %v %v", step, names, err)
			}
			if _, err := s.Rewrite(1, rewriteOf(3, was, deleted)); err != nil && CodeOf(err) != CodeUnsupported {
				t.Fatalf("step %d: %v", step, err)
			}
			checkPunched(t, s, 1, was, deleted)
			refusesPunched(t, s, 1, deleted)
		}
	}
}

// Rot anywhere in a rewritten file, in stubs as well, is found by a scrub: no bit of it passes for another.
func TestRewrittenFlippedBits(t *testing.T) {
	mem, _, s, was, deleted := rewritten(t)
	_, err := s.Rewrite(1, rewriteOf(2, was, deleted))
	must(t, err)
	name := s.dir.extent(1)
	must(t, s.Close())
	file := fileOf(t, mem, name)
	r := rand.New(rand.NewPCG(1, 2))
	stubs := 0
	for pos := 0; pos < len(file); pos++ {
		stub := bytes.HasPrefix(file[max(pos-31, 0):], []byte("DNEG"))
		for _, near := range [][]byte{[]byte("DNEG"), []byte("DNER"), []byte("DNEX"), []byte("DNEF")} {
			stub = stub || bytes.Contains(file[max(pos-35, 0):min(pos+4, len(file))], near)
		}
		if !stub && pos%997 != 0 { // all of each header, and some of what is between them
			continue
		}
		stubs++
		bad := bytes.Clone(file)
		bad[pos] ^= 1 << r.UintN(8)
		fs := storeOf(t, name, bad)
		s, report, err := Open(fs, "/data", Options{})
		must(t, err)
		_, scrubErr := s.Scrub(1, 7, uint64(len(was)), freely)
		if scrubErr == nil && len(report.Footers) == 0 {
			t.Fatalf("a flip at %d of %d is not found: %s", pos, len(file), report)
		}
		p := make([]byte, len(was))
		for _, kept := range minus([]Range{{0, uint64(len(was))}}, deleted) {
			n, err := s.ReadAt(1, p[:kept.To-kept.From], kept.From)
			if !bytes.Equal(p[:n], was[kept.From:kept.From+uint64(n)]) {
				t.Fatalf("a flip at %d: other bytes are read, %v", pos, err)
			}
		}
		s.Close()
	}
	if stubs < 500 {
		t.Errorf("only %d places were tried", stubs)
	}
}

// What is done to the replica meanwhile ends the rewrite, which leaves nothing.
func TestRewriteGivesWay(t *testing.T) {
	stop := errors.New("stop")
	for name, c := range map[string]struct {
		do   func(s *Store, deleted []Range) error
		code Code
	}{
		"fence": {func(s *Store, _ []Range) error { return s.RaiseFence(1, 9) }, CodeStaleFence},
		"drop":  {func(s *Store, _ []Range) error { return s.Drop(1) }, CodeChanged},
		"punch": {func(s *Store, deleted []Range) error { _, err := s.Punch(1, 7, deleted); return err }, CodeChanged},
		"stage": {func(s *Store, _ []Range) error { _, err := s.Stage(1, 9, 7); return err }, CodeStaleFence},
		"pace":  {func(*Store, []Range) error { return stop }, 0},
	} {
		for at := 1; at <= 2; at++ { // while it is read, and while it is read back
			_, fault, s, was, deleted := rewritten(t)
			r, calls := rewriteOf(2, was, deleted), 0
			r.Pace = func(piece func() error) error {
				if calls++; calls == at {
					if err := c.do(s, deleted); errors.Is(err, stop) {
						return stop
					} else {
						must(t, err)
					}
				}
				return piece()
			}
			_, err := s.Rewrite(1, r)
			if CodeOf(err) != c.code || err == nil || c.code == 0 && !errors.Is(err, stop) {
				t.Errorf("%s: %v", name, err)
			}
			names, err := fault.List(s.dir.staging())
			if must(t, err); len(names) > 0 && name != "stage" {
				t.Errorf("%s: left in staging: %v", name, names)
			}
			if name != "drop" {
				checkPunched(t, s, 1, was, deleted)
			}
		}
	}
}

// A store that is closed meanwhile is not written to any more; what is left goes when it is opened.
func TestRewriteOfAClosedStore(t *testing.T) {
	mem, _, s, was, deleted := rewritten(t)
	r := rewriteOf(2, was, deleted)
	r.Pace = func(piece func() error) error {
		must(t, s.Close())
		return piece()
	}
	_, err := s.Rewrite(1, r)
	wantCode(t, err, CodeClosed)
	s, report := open(t, mem)
	if names, err := mem.List(s.dir.staging()); err != nil || len(names)+len(report.Leftovers) > 0 {
		t.Errorf("left in staging: %v %v", names, err)
	}
	checkPunched(t, s, 1, was, deleted)
}

func TestRewriteRefusals(t *testing.T) {
	_, _, s, was, deleted := rewritten(t)
	must(t, s.Create(2, 1, 7))
	must(t, s.Append(2, 1, 0, []byte("open")))
	other, long, born := crc32c.Sum(was)+1, rewriteOf(2, was, deleted), rewriteOf(2, was, deleted)
	rotten := rewriteOf(2, was, deleted)
	rotten.Sum, long.Length, born.Birth = &other, long.Length+1, 8
	for _, c := range []struct {
		what string
		id   ID
		r    Rewrite
		code Code
	}{
		{"no such extent", 3, rewriteOf(2, was, nil), CodeNotFound},
		{"an open extent", 2, rewriteOf(2, []byte("open"), nil), CodeChanged},
		{"another birth", 1, born, CodeNotFound},
		{"another length", 1, long, CodeChanged},
		{"another sum", 1, rotten, CodeCorrupt},
		{"an old fence", 1, rewriteOf(1, was, deleted), CodeStaleFence},
		{"nothing to gain", 1, rewriteOf(2, was, nil), CodeUnsupported},
	} {
		if _, err := s.Rewrite(c.id, c.r); CodeOf(err) != c.code {
			t.Errorf("%s: %v", c.what, err)
		}
		checkPunched(t, s, 1, was, deleted)
	}
}

// A copy of a rewritten replica is a replica like any, and takes the place of a rewritten one.
func TestCopyOfARewrittenReplica(t *testing.T) {
	_, _, s, was, deleted := rewritten(t)
	_, err := s.Rewrite(1, rewriteOf(2, was, deleted))
	must(t, err)
	_, _, to, _, _ := rewritten(t)
	_, err = to.Rewrite(1, rewriteOf(2, was, deleted[:1]))
	must(t, err)
	st, err := to.Stage(1, 3, 7)
	must(t, err)
	punched, err := s.Punched(1)
	must(t, err)
	st.Hide(punched)
	p := make([]byte, len(was))
	_, err = s.ReadAt(1, p, 0)
	must(t, err)
	must(t, st.Append(p))
	must(t, st.Commit(uint64(len(was)), crc32c.Sum(was)))
	checkPunched(t, to, 1, was, deleted)
	refusesPunched(t, to, 1, deleted)
	if to.extents[1].stubs {
		t.Error("a copy has stubs")
	}
}

// FuzzParsePiece: whatever the bytes are, nothing panics, and a stub that is believed is one that can be.
func FuzzParsePiece(f *testing.F) {
	f.Add(appendStub(nil, 7, Range{100, 5000}, 3, [4]byte{1, 2, 3, 4}), uint64(7))
	f.Add(AppendRecord(nil, 7, Record{Offset: 10, Floor: 3, Payload: []byte("hello")}), uint64(7))
	f.Add(appendStub(nil, 7, Range{65530, 65540}, 3, [4]byte{}), uint64(7))
	f.Fuzz(func(t *testing.T, buf []byte, id uint64) {
		if len(buf) >= recordHeaderBytes { // so that the sum is no wall
			sum := headerSum(ID(id), buf[:28])
			buf[28], buf[29], buf[30], buf[31] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
		}
		rest, r, stub, err := parsePiece(buf, ID(id))
		if err != nil || !stub {
			return
		}
		end := r.Offset + uint64(len(r.Payload))
		if len(buf)-len(rest) != recordHeaderBytes || r.Floor > r.Offset || r.Offset/partSumBytes != (end-1)/partSumBytes {
			t.Fatalf("%d to %d, floor %d", r.Offset, end, r.Floor)
		}
		if again := appendStub(nil, ID(id), Range{r.Offset, end}, r.Floor, [4]byte(buf[stubHead:])); !bytes.Equal(again, buf[:32]) {
			t.Fatalf("% x is written as % x", buf[:32], again)
		}
		var v Verified
		h, _ := parsePieceHeader(buf, ID(id))
		for off := r.Offset; off < end; off += min(1000, end-off) {
			v.addStub(h, buf, off, off+min(1000, end-off))
		}
		if got := bytes.Join(v.Parts, nil); !bytes.Equal(got, r.Payload) || v.Sum != crc32c.Sum(got) {
			t.Fatal("read in pieces, a stub has other bytes, or another sum")
		}
	})
}
