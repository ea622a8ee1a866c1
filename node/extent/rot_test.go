package extent

import (
	"bytes"
	"testing"

	"github.com/datanode/datanode/node/internal/vfs"
)

// flip changes one byte of a file, durably.
func flip(t testing.TB, fs vfs.FS, name string, pos int64) {
	t.Helper()
	f, err := fs.OpenRW(name)
	must(t, err)
	b := make([]byte, 1)
	_, err = f.ReadAt(b, pos)
	must(t, err)
	b[0] ^= 0x40
	put(t, f, b, pos)
}

func put(t testing.TB, f vfs.File, b []byte, pos int64) {
	t.Helper()
	_, err := f.WriteAt(b, pos)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
}

// rotten is a store with one extent of five appends, sealed, and the place of each record.
func rotten(t *testing.T) (fs *vfs.Mem, s *Store, data []byte, starts []int) {
	t.Helper()
	fs = vfs.NewMem()
	s, _ = open(t, fs)
	must(t, s.Create(1, 1, 0))
	for i, n := range []int{500, 500, MaxRecordBytes, 300, 500} {
		starts = append(starts, len(data))
		p := pattern(uint64(i), n)
		must(t, s.Append(1, 1, uint64(len(data)), p))
		data = append(data, p...)
	}
	must(t, s.Seal(1, uint64(len(data))))
	return fs, s, data, starts
}

// One flipped byte anywhere, found by the running store or by the next one: bytes of other records
// are read as ever, those of the damaged one give CodeCorrupt, and never other bytes.
func TestFlippedByte(t *testing.T) {
	for rec := range 5 {
		for _, in := range []int{0, 5, 9, 17, 25, 29, 40} { // each field of the header, and the payload
			for _, reopened := range []bool{false, true} {
				fs, s, data, starts := rotten(t)
				pos := fileHeaderBytes + starts[rec] + rec*recordHeaderBytes + in
				flip(t, fs, s.dir.extent(1), int64(pos))
				if reopened {
					must(t, s.Close())
					var err error
					var report Report
					s, report, err = Open(fs, "/data", Options{VerifyAll: true})
					must(t, err)
					if len(report.Damaged) != 1 || report.Damaged[0].From != uint64(starts[rec]) || len(report.Torn) > 0 {
						t.Fatalf("record %d, byte %d: report:\n%s", rec, in, report)
					}
				}
				checkRot(t, s, data, append(starts, len(data)), rec, reopened)
			}
		}
	}
}

func checkRot(t *testing.T, s *Store, data []byte, starts []int, rec int, reopened bool) {
	t.Helper()
	for i := range 5 {
		want := data[starts[i]:starts[i+1]]
		got := make([]byte, len(want))
		_, err := s.ReadAt(1, got, uint64(starts[i]))
		switch {
		case i == rec:
			if e := wantCode(t, err, CodeCorrupt); e.Offset != uint64(starts[rec]) {
				t.Errorf("record %d: the error says offset %d, want %d", i, e.Offset, starts[rec])
			}
		case err == nil && bytes.Equal(got, want):
		case reopened || err == nil || CodeOf(err) != CodeCorrupt:
			// Before it is opened again, a damaged header may hide its neighbours, but nothing more.
			t.Errorf("record %d, with %d damaged: %v", i, rec, err)
		}
	}
	_, err := s.Sum(1, uint64(len(data)))
	wantCode(t, err, CodeCorrupt)
}

// Rot in a sealed extent is left for reads by a quick Open, which reads the footer alone; rot in its last append is rot
// and not a torn tail.
func TestRotAtTheEndOfSealed(t *testing.T) {
	fs, s, data, starts := rotten(t)
	must(t, s.Close())
	flip(t, fs, s.dir.extent(1), int64(fileHeaderBytes+starts[4]+4*recordHeaderBytes+9))
	s, report := open(t, fs)
	if report.String() != "extents: 1\n" {
		t.Fatalf("report:\n%s", report)
	}
	_, err := s.Sum(1, uint64(len(data)))
	wantCode(t, err, CodeCorrupt)
	must(t, s.Close())
	s, report, err = Open(fs, "/data", Options{VerifyAll: true})
	must(t, err)
	if len(report.Torn) > 0 || len(report.Damaged) != 1 {
		t.Fatalf("report:\n%s", report)
	}
	if info, _ := s.Stat(1); info.Length != uint64(len(data)) || len(info.Damaged) != 1 {
		t.Errorf("length %d, damaged %v, want %d and one range", info.Length, info.Damaged, len(data))
	}
	wantCode(t, s.Append(1, 1, uint64(len(data)), []byte("x")), CodeCorrupt)
}

// Rot in an open extent, in what was acknowledged before its last append, is kept and reported.
func TestRotInOpenIsNotTorn(t *testing.T) {
	for _, in := range []int{3, 40} {
		fs := vfs.NewMem()
		s, _ := open(t, fs)
		must(t, s.Create(1, 1, 0))
		p := pattern(1, 3*MaxRecordBytes)
		must(t, s.Append(1, 1, 0, p))
		must(t, s.Append(1, 1, uint64(len(p)), p))
		must(t, s.Close())
		flip(t, fs, s.dir.extent(1), fileHeaderBytes+recordHeaderBytes+MaxRecordBytes+int64(in))
		s, report, err := Open(fs, "/data", Options{VerifyAll: true})
		must(t, err)
		if got := report.String(); got != "extents: 1\ndamaged: extent 1 from 65536 to 131072\n" {
			t.Errorf("byte %d: report:\n%s", in, got)
		}
		wantCode(t, s.Seal(1, MaxRecordBytes), CodeBelowFloor) // the second append says that the first was acknowledged
		wantBytes(t, s, 1, p[:MaxRecordBytes])
	}
}

// A torn append whose first record is missing and whose later ones are there is cut as a whole.
func TestTornInFront(t *testing.T) {
	fs := vfs.NewMem()
	s, _ := open(t, fs)
	must(t, s.Create(1, 1, 0))
	p := pattern(1, 1000)
	must(t, s.Append(1, 1, 0, p))
	must(t, s.Append(1, 1, 1000, pattern(2, 4*MaxRecordBytes)))
	must(t, s.Close())
	flip(t, fs, s.dir.extent(1), fileHeaderBytes+recordHeaderBytes+1000+3)
	s, report := open(t, fs)
	if len(report.Torn) != 1 || len(report.Damaged) > 0 {
		t.Errorf("report:\n%s", report)
	}
	wantBytes(t, s, 1, p)
	must(t, s.Append(1, 1, 1000, p))
}

// Two records of one length that changed places: both are valid by themselves, neither is read.
func TestSwappedRecords(t *testing.T) {
	for _, reopened := range []bool{false, true} {
		fs, s, data, _ := rotten(t)
		name := s.dir.extent(1)
		f, err := fs.OpenRW(name)
		must(t, err)
		a, b := make([]byte, 532), make([]byte, 532)
		_, err = f.ReadAt(a, fileHeaderBytes)
		must(t, err)
		_, err = f.ReadAt(b, fileHeaderBytes+532)
		must(t, err)
		_, err = f.WriteAt(b, fileHeaderBytes)
		must(t, err)
		put(t, f, a, fileHeaderBytes+532)
		if reopened {
			must(t, s.Close())
			s, _ = open(t, fs)
		}
		for off := uint64(0); off < 1000; off += 500 {
			got := make([]byte, 500)
			if _, err := s.ReadAt(1, got, off); CodeOf(err) != CodeCorrupt {
				t.Errorf("reopened %v, offset %d: %v, equal %v", reopened, off, err, bytes.Equal(got, data[off:off+500]))
			}
		}
	}
}

// Two files that changed places are found by a running store and by Open, and a repair moves the
// misplaced file aside instead of deleting it.
func TestSwappedFiles(t *testing.T) {
	fs, s, data, _ := rotten(t)
	must(t, s.Create(257, 1, 0)) // the same folder
	must(t, s.Append(257, 1, 0, data))
	must(t, s.Close())
	one, two := s.dir.extent(1), s.dir.extent(257)
	must(t, fs.Rename(one, "/data/tmp"))
	must(t, fs.Rename(two, one))
	must(t, fs.Rename("/data/tmp", two))
	s, report := open(t, fs)
	if report.Extents != 0 || len(report.Damaged) != 2 {
		t.Fatalf("report:\n%s", report)
	}
	_, err := s.ReadAt(1, make([]byte, 10), 0)
	wantCode(t, err, CodeCorrupt)
	wantCode(t, s.Append(257, 1, uint64(len(data)), data), CodeCorrupt)
	st, err := s.Stage(1, 2, 0)
	must(t, err)
	must(t, st.Append([]byte("right")))
	must(t, st.Commit(5, sumOf("right")))
	wantBytes(t, s, 1, []byte("right"))
	names, _ := fs.List(s.dir.quarantine())
	if len(names) != 2 {
		t.Errorf("quarantine holds %v, want the misplaced file and a note", names)
	}
}
