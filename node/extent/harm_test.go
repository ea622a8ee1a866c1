package extent

import (
	"bytes"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"github.com/datanode/datanode/node/internal/vfs"
)

// harmed is a small store as files, what it had acknowledged, and what may be harmed in it.
type harmed struct {
	files  map[string][]byte
	data   map[ID][]byte
	sealed map[ID]bool
	fences map[ID]Fence
}

// smallStore has an extent that is open, one that is sealed, one that was cut inside a record, an empty one, one that
// is being copied, a tail that was put aside, something in quarantine, and a catalogue.
func smallStore(t *testing.T) harmed {
	t.Helper()
	fs := vfs.NewMem()
	s, _ := open(t, fs)
	h := harmed{files: map[string][]byte{}, data: map[ID][]byte{}, sealed: map[ID]bool{}, fences: map[ID]Fence{}}
	for id := range ID(4) {
		id++
		must(t, s.Create(id, 1, Birth(id)))
		for i := range 3 {
			if id == 4 {
				break
			}
			p := pattern(uint64(id)*10+uint64(i), 50+i)
			must(t, s.Append(id, 1, uint64(len(h.data[id])), p))
			h.data[id] = append(h.data[id], p...)
		}
		h.fences[id] = 1
	}
	h.data[4] = []byte{}
	h.data[3] = h.data[3][:130]
	for _, id := range []ID{2, 3} {
		_, err := s.SealSum(id, uint64(len(h.data[id])))
		must(t, err)
		h.sealed[id] = true
	}
	st, err := s.Stage(5, 4, 5)
	must(t, err)
	must(t, st.Append(pattern(5, 100)))
	must(t, st.Sync())
	must(t, st.Close())
	h.fences[5] = 4
	s.writeCatalogue()
	must(t, s.Create(6, 1, 6))
	must(t, s.Quarantine(6, "test"))
	h.fences[6] = 1
	must(t, s.Close())
	dirs := []string{"/data", s.dir.staging(), s.dir.quarantine(), s.dir.fan(1), s.dir.fan(2), s.dir.fan(3), s.dir.fan(4)}
	for _, dir := range dirs {
		names, err := fs.List(dir)
		must(t, err)
		for _, name := range names {
			name = path.Join(dir, name)
			if info, err := fs.Stat(name); err == nil && !info.IsDir && name != s.dir.lock() {
				h.files[name] = fileOf(t, fs, name)
			}
		}
	}
	return h
}

// with is the store with other bytes in one of its files.
func (h *harmed) with(t *testing.T, name string, file []byte) *vfs.Mem {
	t.Helper()
	fs := vfs.NewMem()
	for n, b := range h.files {
		if n == name {
			b = file
		}
		must(t, fs.MkdirAll(path.Dir(n)))
		must(t, createWith(fs, n, b))
		must(t, fs.SyncDir(path.Dir(n)))
	}
	return fs
}

// check opens a harmed store: what it had is there, or is refused or known to be damaged or short; never is it
// anything else. It reports whether anything was noticed.
func (h *harmed) check(t *testing.T, fs vfs.FS, what string) {
	t.Helper()
	s, report, err := Open(fs, "/data", Options{})
	if err != nil {
		t.Fatalf("%s: a rotten bit keeps the store from opening: %v", what, err)
	}
	for id, want := range h.fences {
		if f := s.Fence(id); f > want {
			t.Fatalf("%s: fence %d of extent %d, was %d", what, f, id, want)
		}
	}
	for id, want := range h.data {
		h.checkExtent(t, s, id, want, what+": "+report.String())
	}
	st, err := s.Stage(5, 9, 5) // what was staged is gone on with as far as it verifies
	must(t, err)
	n := st.Len()
	must(t, st.Append(pattern(5, 100)[min(n, 100):]))
	must(t, st.Commit(100, crc32.Checksum(pattern(5, 100), castagnoli)))
	wantBytes(t, s, 5, pattern(5, 100))
	must(t, s.Close())
}

func (h *harmed) checkExtent(t *testing.T, s *Store, id ID, want []byte, what string) {
	t.Helper()
	info, err := s.Stat(id)
	if CodeOf(err) == CodeNotFound && len(want) == 0 {
		return // an empty file whose header has rotted, or has no name: told from one that is there
	}
	must(t, err)
	got := make([]byte, len(want))
	n, err := s.ReadAt(id, got, 0)
	if !bytes.Equal(got[:n], want[:n]) {
		t.Fatalf("%s: extent %d reads as other bytes", what, id)
	}
	if err == nil {
		return
	}
	switch code := CodeOf(err); {
	case code == CodeCorrupt:
	case code == CodeTooShort && (info.Cut || h.sealed[id]): // of a sealed extent the log knows the length
	default:
		t.Fatalf("%s: extent %d: %v with %+v", what, id, err, info)
	}
	if sum, err := s.Sum(id, uint64(len(want))); err == nil {
		t.Fatalf("%s: extent %d cannot be read, and has sum %#x", what, id, sum)
	}
	if h.sealed[id] { // a copy mends it
		st, err := s.Stage(id, 9, Birth(id))
		must(t, err)
		must(t, st.Append(want[min(st.Len(), uint64(len(want))):]))
		must(t, st.Commit(uint64(len(want)), crc32.Checksum(want, castagnoli)))
		wantBytes(t, s, id, want)
	}
}

// Each single bit of a small store flips, in every file that it has.
func TestEveryBit(t *testing.T) {
	h := smallStore(t)
	step := 1
	if testing.Short() {
		step = 7
	}
	total := 0
	for name, file := range h.files {
		for bit := 0; bit < 8*len(file); bit += step {
			harm := bytes.Clone(file)
			harm[bit/8] ^= 1 << (bit % 8)
			h.check(t, h.with(t, name, harm), name)
			total++
		}
	}
	t.Logf("%d bits of %d files", total, len(h.files))
}

// Each file of a small store ends at each of its bytes.
func TestEveryLength(t *testing.T) {
	h := smallStore(t)
	for name, file := range h.files {
		if !strings.HasSuffix(name, extentSuffix) {
			for n := range file {
				h.check(t, h.with(t, name, file[:n]), name)
			}
			continue
		}
		for n := range file {
			h.checkShort(t, h.with(t, name, file[:n]), name, n)
		}
	}
}

// checkShort is check for a file that lost its end, which an open one cannot tell when it is at the end of a record:
// then its floor, or the other replicas, say what is missing.
func (h *harmed) checkShort(t *testing.T, fs vfs.FS, name string, n int) {
	t.Helper()
	s, report := open(t, fs)
	for id, want := range h.data {
		got := make([]byte, len(want))
		if _, err := s.Stat(id); CodeOf(err) == CodeNotFound && n <= fileHeaderBytes {
			continue // taken for a create that did not end: the log misses it
		}
		n, err := s.ReadAt(id, got, 0)
		if !bytes.Equal(got[:n], want[:n]) || err == nil && n < len(want) {
			t.Fatalf("%s: extent %d has %d of %d bytes: %v\n%s", name, id, n, len(want), err, report)
		}
	}
	must(t, s.Close())
}

// Each byte of the last 64 KiB of an extent is cut off, sealed and open: what is left reads as it was, and a seal that
// wants more is refused.
func TestEveryCut(t *testing.T) {
	step := int64(7)
	if testing.Short() {
		step = 997
	}
	for _, sealed := range []bool{false, true} {
		fs := vfs.NewMem()
		s, _ := open(t, fs)
		must(t, s.Create(1, 1, 0))
		var data []byte
		for i, n := range []int{40_000, 20_000, 9, 12_000, 5000, 77} {
			p := pattern(uint64(i), n)
			must(t, s.Append(1, 1, uint64(len(data)), p))
			data = append(data, p...)
		}
		if sealed {
			must(t, s.Seal(1, uint64(len(data))))
		}
		must(t, s.Close())
		name, file := s.dir.extent(1), fileOf(t, fs, s.dir.extent(1))
		for cut := int64(1); cut <= 64<<10; cut += step {
			if cut > 512 && step > 1 && cut < 512+step {
				cut = 513
			}
			keep := file[:int64(len(file))-cut]
			s, report, err := Open(storeOf(t, name, keep), "/data", Options{})
			must(t, err)
			info, err := s.Stat(1)
			must(t, err)
			got := make([]byte, info.Length)
			if n, err := s.ReadAt(1, got, 0); err != nil || !bytes.Equal(got[:n], data[:n]) || info.Length > uint64(len(data)) {
				t.Fatalf("cut by %d: %d bytes, %v\n%s", cut, info.Length, err, report)
			}
			if info.Length < uint64(len(data)) {
				wantCode(t, s.Seal(1, uint64(len(data))), CodeTooShort)
			}
			must(t, s.Close())
			if cut < 512 {
				cut -= step - 1 // each of the last bytes: mark and footer
			}
		}
	}
}

// storeOf is a store that holds one file.
func storeOf(t *testing.T, name string, file []byte) *vfs.Mem {
	t.Helper()
	fs := vfs.NewMem()
	must(t, fs.MkdirAll(path.Dir(name)))
	must(t, createWith(fs, name, file))
	must(t, fs.SyncDir(path.Dir(name)))
	return fs
}

// dying is a change to extent 1, which holds before before it and after after it.
type dying struct {
	name          string
	before, after []byte // nil: there is none
	partly        bool   // after a crash it may hold a part of what is new
	prepare       func(*Store) error
	do            func(*Store) error
}

func dyingCases() []dying {
	old, p := pattern(1, 3*MaxRecordBytes), pattern(2, MaxRecordBytes+999)
	fill := func(s *Store) error { return errors.Join(s.Create(1, 1, 0), s.Append(1, 1, 0, old)) }
	seal := func(n int) func(*Store) error { return func(s *Store) error { return s.Seal(1, uint64(n)) } }
	both := func(a, b func(*Store) error) func(*Store) error {
		return func(s *Store) error { return errors.Join(a(s), b(s)) }
	}
	return []dying{
		{name: "create", after: []byte{}, prepare: func(*Store) error { return nil },
			do: func(s *Store) error { return s.Create(1, 1, 0) }},
		{name: "append", before: old, after: append(bytes.Clone(old), p...), partly: true, prepare: fill,
			do: func(s *Store) error { return s.Append(1, 1, uint64(len(old)), p) }},
		{name: "append to what was sealed", before: old, after: append(bytes.Clone(old), p...), partly: true,
			prepare: both(fill, seal(len(old))),
			do: func(s *Store) error {
				s.mu.Lock()
				s.extents[1].sealed = false // as after a start
				s.mu.Unlock()
				return s.Append(1, 1, uint64(len(old)), p)
			}},
		{name: "seal", before: old, after: old, prepare: fill, do: seal(len(old))},
		{name: "seal at the end of a record", before: old, after: old[:MaxRecordBytes], prepare: fill,
			do: seal(MaxRecordBytes)},
		{name: "seal inside a record", before: old, after: old[:70_000], prepare: fill, do: seal(70_000)},
		{name: "copy", before: old, after: p, prepare: fill, do: func(s *Store) error {
			st, err := s.Stage(1, 2, 0)
			if err != nil {
				return err
			}
			return errors.Join(st.Append(p), st.Commit(uint64(len(p)), crc32.Checksum(p, castagnoli)))
		}},
		{name: "drop", before: old, prepare: both(fill, seal(len(old))), do: func(s *Store) error { return s.Drop(1) }},
		{name: "quarantine", before: old, prepare: fill, do: func(s *Store) error { return s.Quarantine(1, "test") }},
		{name: "write the catalogue", before: old, after: old, prepare: both(fill, seal(len(old))),
			do: func(s *Store) error { s.writeCatalogue(); return s.Failed() }},
	}
}

// The process dies, and the power goes, before each step of each change in turn: the extent is as before or as after,
// what was acknowledged is there, and nothing looks like rot.
func TestDyingAtEveryStep(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 3
	}
	for _, c := range dyingCases() {
		t.Run(c.name, func(t *testing.T) {
			steps, done := 0, false
			for ; !done; steps++ {
				for seed := range seeds {
					done = c.die(t, steps+1, seed)
				}
			}
			if steps < 2 {
				t.Fatalf("it takes %d steps: nothing was cut off", steps)
			}
		})
	}
}

// die dies before a step, and reports whether there was none so far.
func (c *dying) die(t *testing.T, step int, seed uint64) (done bool) {
	mem, fault, s := faulty(t)
	must(t, c.prepare(s))
	fault.Set(vfs.FailFrom(step, &vfs.Partial{Bytes: int(seed) * 9000, Err: errDied}))
	err := c.do(s)
	fault.Set(nil)
	if seed == 0 {
		mem.Crash(nil)
	} else {
		mem.Crash(rand.New(rand.NewPCG(seed, uint64(step))))
	}
	for range 2 { // and what the first open shows the second does too
		s, report := open(t, mem)
		if len(report.Damaged) > 0 || report.LostFences > 0 || report.Catalogue != nil {
			t.Fatalf("step %d, seed %d: looks like rot:\n%s", step, seed, report)
		}
		got, there := contents(t, s)
		asBefore := there == (c.before != nil) && bytes.Equal(got, c.before)
		asAfter := there == (c.after != nil) && bytes.Equal(got, c.after)
		part := c.partly && bytes.HasPrefix(got, c.before) && bytes.HasPrefix(c.after, got)
		if err == nil && !asAfter || !asBefore && !asAfter && !part {
			t.Fatalf("step %d, seed %d, %v: there %v, %d bytes\n%s", step, seed, err, there, len(got), report)
		}
		must(t, s.Close())
	}
	return err == nil
}

func contents(t *testing.T, s *Store) ([]byte, bool) {
	t.Helper()
	info, err := s.Stat(1)
	if CodeOf(err) == CodeNotFound || err == nil && !info.Present {
		return nil, false
	}
	must(t, err)
	p := make([]byte, info.Length)
	_, err = s.ReadAt(1, p, 0)
	must(t, err)
	return p, true
}
