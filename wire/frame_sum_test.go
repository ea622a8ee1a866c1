package wire

import (
	"bytes"
	"testing"

	"github.com/datanode/datanode/crc32c"
)

// However long the raw bytes are, their sum comes with the frame, the frame can be made with it, and every bit of the
// frame is still checked.
func TestRawSums(t *testing.T) {
	for _, n := range []int{0, 1, sumApartBytes - 1, sumApartBytes, sumApartBytes + 1, 5000} {
		h := Header{Kind: KindResponse, Op: 2, ID: 7, Session: 1}
		body, raw := []byte{0x91, 0x05}, bytes.Repeat([]byte{0xa5, 0x5a, 0x01}, n/3+1)[:n]
		whole := AppendFrame(nil, &h, body, raw)
		start := AppendFrameStart(nil, &h, body, n)
		parts := append(append([]byte(nil), start...), raw...)
		if parts = AppendFrameEndSum(parts, start, crc32c.Sum(raw), n); !bytes.Equal(parts, whole) {
			t.Errorf("%d raw bytes: a frame made with their sum differs", n)
		}
		_, f, err := ParseFrame(whole)
		sum, known := f.RawSum()
		if err != nil || known != (n >= sumApartBytes) || known && sum != crc32c.Sum(raw) {
			t.Errorf("%d raw bytes: sum %08x, %v, want %08x", n, sum, err, crc32c.Sum(raw))
		}
		for i := lengthBytes * 8; i < len(whole)*8; i++ {
			whole[i/8] ^= 1 << (i % 8)
			if _, f, err := ParseFrame(whole); err == nil {
				t.Fatalf("%d raw bytes: bit %d is flipped and the frame is still believed: %s", n, i, f.Header)
			}
			whole[i/8] ^= 1 << (i % 8)
		}
	}
}

func BenchmarkParseFrame(b *testing.B) {
	h := Header{Kind: KindChunk, Op: 2, ID: 1 << 30, Session: 1}
	for _, c := range []struct {
		name string
		raw  int
	}{{"16", 16}, {"1KiB", 1 << 10}, {"4KiB", 4 << 10}, {"256KiB", 256 << 10}} {
		b.Run(c.name, func(b *testing.B) {
			frame := AppendFrame(nil, &h, nil, make([]byte, c.raw))
			for b.Loop() {
				if _, _, err := ParseFrame(frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
