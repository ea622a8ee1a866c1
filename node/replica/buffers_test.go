package replica

import (
	"errors"
	"testing"

	"github.com/datanode/datanode/node/extent"
)

// A buffer is no larger than what is asked for it, and large enough for what is read with it.
func TestReadBuffers(t *testing.T) {
	var s buffers
	for _, n := range []uint64{0, 1, 4096, 4097, copyBytes, copyBytes + 1, extent.MaxRecordBytes,
		extent.MaxRecordBytes + 1, PieceBytes, PieceBytes + 1, 1 << 40} {
		for range 2 { // a new one, and one that may have been used
			held := 0
			buf, err := s.take(n, func(k int) error { held += k; return nil })
			if err != nil || cap(buf.b) != held || len(buf.b) != held {
				t.Fatalf("%d bytes: a buffer of %d, and %d asked for: %v", n, cap(buf.b), held, err)
			}
			want := int(min(n, PieceBytes))
			if n > copyBytes {
				want = extent.PartsBufferBytes(n)
			}
			if held < want || held > 2*want && held > 1<<leastCopyBits {
				t.Errorf("%d bytes: a buffer of %d, want %d or a little more", n, held, want)
			}
			s.put(buf)
		}
	}
	full := errors.New("full")
	if _, err := s.take(1, func(int) error { return full }); !errors.Is(err, full) {
		t.Errorf("no memory: %v, want that it is said", err)
	}
}
