package extent

import (
	"errors"
	"hash/crc32"
	"testing"

	"github.com/datanode/datanode/node/internal/vfs"
)

func freely(int) error { return nil }

// Scrub finds every flipped bit of a sealed replica's file, from its header to the mark at its end.
func TestScrubFindsAnyFlip(t *testing.T) {
	fs := vfs.NewMem()
	s, _ := open(t, fs)
	p := pattern(1, 3000)
	must(t, s.Create(1, 1, 0xcafe))
	for off := 0; off < len(p); off += 1000 {
		must(t, s.Append(1, 1, uint64(off), p[off:off+1000]))
	}
	must(t, s.Seal(1, 3000))
	info, err := s.Stat(1)
	must(t, err)
	for at := int64(0); at < info.PhysicalBytes; at++ {
		flip(t, fs, s.dir.extent(1), at)
		if sum, err := s.Scrub(1, 0xcafe, 3000, freely); CodeOf(err) != CodeCorrupt {
			t.Fatalf("byte %d of %d flipped: sum %#x, %v", at, info.PhysicalBytes, sum, err)
		}
		flip(t, fs, s.dir.extent(1), at)
	}
	sum, err := s.Scrub(1, 0xcafe, 3000, freely)
	if want := crc32.Checksum(p, castagnoli); err != nil || sum != want {
		t.Fatalf("sum %#x, %v; want %#x", sum, err, want)
	}
	must(t, s.Close())
}

// Scrub asks before each piece, ends when it is told to, and sees what happens to the extent in between.
func TestScrubIsPaced(t *testing.T) {
	fs := vfs.NewMem()
	s, _ := open(t, fs)
	const length = 3*scrubStepBytes + 7
	must(t, s.Create(1, 1, 0xcafe))
	must(t, s.Append(1, 1, 0, pattern(1, length)))
	must(t, s.Seal(1, length))
	var asked []int
	if _, err := s.Scrub(1, 0, length, func(n int) error { asked = append(asked, n); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(asked) != 4 || asked[0] != scrubStepBytes || asked[3] != 7 {
		t.Fatalf("asked for %v", asked)
	}
	enough := errors.New("enough")
	if _, err := s.Scrub(1, 0, length, func(int) error { return enough }); !errors.Is(err, enough) {
		t.Fatalf("told to end: %v", err)
	}
	_, err := s.Scrub(1, 0xbeef, length, freely)
	wantCode(t, err, CodeNotFound)
	_, err = s.Scrub(1, 0xcafe, length+1, freely)
	wantCode(t, err, CodeTooShort)
	_, err = s.Scrub(2, 0, 1, freely)
	wantCode(t, err, CodeNotFound)
	// Nothing is held between two pieces: the extent can be dropped, and that is noticed.
	_, err = s.Scrub(1, 0xcafe, length, func(int) error { return s.Drop(1) })
	wantCode(t, err, CodeChanged)
	// Nor does it keep the store from closing.
	must(t, s.Create(3, 1, 0))
	must(t, s.Append(3, 1, 0, pattern(1, length)))
	_, err = s.Scrub(3, 0, length, func(int) error { return s.Close() })
	wantCode(t, err, CodeClosed)
}
