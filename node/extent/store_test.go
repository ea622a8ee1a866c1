package extent

import (
	"bytes"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/datanode/datanode/node/internal/vfs"
)

// pattern is n bytes that differ from place to place and from seed to seed.
func pattern(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

func open(t testing.TB, fs vfs.FS) (*Store, Report) {
	t.Helper()
	s, report, err := Open(fs, "/data", Options{})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return s, report
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t testing.TB, err error, code Code) *Error {
	t.Helper()
	if CodeOf(err) != code {
		t.Fatalf("got %v, want code %v", err, code)
	}
	e, ok := err.(*Error)
	if !ok {
		t.Fatalf("got a %T, want *Error", err)
	}
	return e
}

func wantBytes(t testing.TB, s *Store, id ID, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := s.ReadAt(id, got, 0); err != nil || n != len(want) || !bytes.Equal(got, want) {
		t.Fatalf("extent %d: read %d of %d bytes, equal %v, error %v", id, n, len(want), bytes.Equal(got, want), err)
	}
	sum, err := s.Sum(id, uint64(len(want)))
	if err != nil || sum != crc32.Checksum(want, castagnoli) {
		t.Fatalf("extent %d: sum %#x, error %v, want %#x", id, sum, err, crc32.Checksum(want, castagnoli))
	}
}

// An extent is created, appended to in all sizes, read in all places, sealed, and found again.
func TestLife(t *testing.T) {
	fs := vfs.NewMem()
	s, _ := open(t, fs)
	must(t, s.Create(7, 10, 0))
	must(t, s.Create(7, 10, 0))
	wantCode(t, s.Create(7, 11, 0), CodeExists)
	wantCode(t, s.Append(7, 10, 0, []byte("x")), CodeStaleFence)
	var want []byte
	for i, n := range []int{1, 5, MaxRecordBytes, MaxRecordBytes + 1, 3 * MaxRecordBytes, 100, 100, 7, 2 << 20, 9} {
		p := pattern(uint64(i), n)
		must(t, s.Append(7, 11, uint64(len(want)), p))
		want = append(want, p...)
		wantBytes(t, s, 7, want)
	}
	e := wantCode(t, s.Append(7, 11, 3, []byte("x")), CodeWrongOffset)
	if e.Want != uint64(len(want)) || e.Have != 3 {
		t.Fatalf("wrong offset says want %d, have %d; the length is %d", e.Want, e.Have, len(want))
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		from := r.IntN(len(want))
		got := make([]byte, r.IntN(min(200_000, len(want)-from)+1))
		if n, err := s.ReadAt(7, got, uint64(from)); err != nil || n != len(got) || !bytes.Equal(got, want[from:from+n]) {
			t.Fatalf("read %d bytes at %d: got %d, %v", len(got), from, n, err)
		}
	}
	must(t, s.Seal(7, uint64(len(want)-4)))
	must(t, s.Seal(7, uint64(len(want)-4)))
	wantCode(t, s.Seal(7, uint64(len(want)-5)), CodeSealed)
	want = want[:len(want)-4]
	wantCode(t, s.Append(7, 11, uint64(len(want)), []byte("x")), CodeSealed)
	wantBytes(t, s, 7, want)
	must(t, s.Close())
	wantCode(t, s.Append(7, 11, 0, nil), CodeClosed)
	fs.Crash(nil)
	s, report := open(t, fs)
	if got := report.String(); got != "extents: 1\n" {
		t.Fatalf("report:\n%s", got)
	}
	wantBytes(t, s, 7, want)
	wantCode(t, s.RaiseFence(7, 10), CodeStaleFence)
	must(t, s.Drop(7))
	must(t, s.Drop(7))
	if _, err := s.Stat(7); CodeOf(err) != CodeNotFound {
		t.Fatalf("stat after drop: %v", err)
	}
	must(t, s.Close())
}
