package extent

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/datanode/datanode/crc32c"
	"github.com/datanode/datanode/node/internal/vfs"
)

// Whatever range is asked for, into whatever buffer, the parts are its bytes and the sum is theirs.
func TestReadPartsAnyRange(t *testing.T) {
	s, _ := open(t, vfs.NewMem())
	must(t, s.Create(1, 1, 0))
	var want []byte
	for i, n := range []int{10, 4096, 4096, 4096, 1, 100_000, 65536, 65536, 7, 300_000, 513} {
		p := pattern(uint64(i), n)
		must(t, s.Append(1, 1, uint64(len(want)), p))
		want = append(want, p...)
	}
	for i := range 3000 {
		off := rand.IntN(len(want))
		n := rand.IntN(min(len(want)-off, 1<<rand.IntN(20)) + 1)
		buf := make([]byte, max(PartsBufferBytes(uint64(rand.IntN(n+1))), recordHeaderBytes+MaxRecordBytes))
		var got []byte
		var sum uint32
		for len(got) < n {
			v, err := s.ReadParts(1, buf, uint64(n-len(got)), uint64(off+len(got)))
			if err != nil || v.Len == 0 {
				t.Fatalf("%d: %d bytes at %d, after %d: %d bytes and %v", i, n, off, len(got), v.Len, err)
			}
			for _, p := range v.Parts {
				got = append(got, p...)
			}
			sum = crc32c.Combine(sum, v.Sum, int64(v.Len))
		}
		if !bytes.Equal(got, want[off:off+n]) || sum != crc32c.Sum(got) {
			t.Fatalf("%d: %d bytes at %d differ, or their sum does", i, n, off)
		}
		whole := make([]byte, n)
		if k, sum, err := s.ReadSum(1, whole, uint64(off)); k != n || err != nil || sum != crc32c.Sum(want[off:off+n]) ||
			!bytes.Equal(whole, got) {
			t.Fatalf("%d: ReadSum of %d bytes at %d: %d, %08x, %v", i, n, off, k, sum, err)
		}
	}
	v, err := s.ReadParts(1, make([]byte, partsBufferBytes), 100, uint64(len(want)-30))
	if v.Len != 30 || CodeOf(err) != CodeTooShort {
		t.Errorf("beyond the end: %d bytes and %v, want 30 and %s", v.Len, err, CodeTooShort)
	}
	if got, err := s.Sum(1, uint64(len(want))); err != nil || got != crc32c.Sum(want) {
		t.Errorf("sum of all %08x, %v, want %08x", got, err, crc32c.Sum(want))
	}
}

// A bit that has flipped anywhere in the file of an extent is found by whoever reads what it is a part of, and what
// comes before it is still given.
func TestReadPartsFlippedBits(t *testing.T) {
	fs, s, want, starts := rotten(t)
	file, err := fs.OpenRW(s.dir.extent(1))
	must(t, err)
	defer func() { must(t, file.Close()) }()
	buf := make([]byte, PartsBufferBytes(uint64(len(want))))
	for pos := fileHeaderBytes; pos < fileHeaderBytes+len(want)+len(starts)*recordHeaderBytes; pos += 1 + pos%7 {
		record := 0 // that pos is in
		for record+1 < len(starts) && pos >= fileHeaderBytes+starts[record+1]+(record+1)*recordHeaderBytes {
			record++
		}
		was := make([]byte, 1)
		_, err := file.ReadAt(was, int64(pos))
		must(t, err)
		_, err = file.WriteAt([]byte{was[0] ^ 1<<(pos%8)}, int64(pos))
		must(t, err)
		v, err := s.ReadParts(1, buf, uint64(len(want)), 0)
		if CodeOf(err) != CodeCorrupt {
			t.Fatalf("byte %d: %d bytes and %v, want %s", pos, v.Len, err, CodeCorrupt)
		}
		got := bytes.Join(v.Parts, nil)
		if !bytes.Equal(got, want[:starts[record]]) || v.Sum != crc32c.Sum(got) {
			t.Fatalf("byte %d: %d bytes come before it, want %d", pos, len(got), starts[record])
		}
		_, err = file.WriteAt(was, int64(pos))
		must(t, err)
	}
}
