package term

import (
	"io"
	"strings"
	"testing"
)

func TestCountReaderSeesChanges(t *testing.T) {
	for _, c := range []struct {
		total   int64
		read    int // how much of three bytes
		changed bool
	}{
		{total: 3, read: 2}, {total: 3, read: 3}, {total: 3, read: 9}, {total: 0, read: 9}, {total: 5, read: 3},
		{total: 5, read: 9, changed: true}, {total: 2, read: 2}, {total: 2, read: 3, changed: true},
	} {
		r := &CountReader{R: strings.NewReader("abc"), Total: c.total}
		if n, err := io.CopyN(io.Discard, r, int64(c.read)); err != nil && n != 3 {
			t.Fatal(err)
		}
		if r.Changed() != c.changed {
			t.Errorf("%d of 3 bytes read that were said to be %d: changed %t, want %t", c.read, c.total, r.Changed(), c.changed)
		}
	}
}

// The bar of a put is not full before the acknowledgement, however much is known of the length.
func TestBarIsNotFullBeforeTheAcknowledgement(t *testing.T) {
	for _, c := range []struct{ done, total int64 }{{0, 0}, {5, 0}, {0, 1}, {1, 1}, {50, 100}, {100, 100},
		{1 << 40, 1 << 40}, {7, 3}} {
		shown, of := unacknowledged(c.done, c.total)
		if shown < 0 || shown >= of || of < c.total || c.done*2 <= c.total && shown != c.done {
			t.Errorf("%d of %d read: the bar is at %d of %d", c.done, c.total, shown, of)
		}
	}
}
