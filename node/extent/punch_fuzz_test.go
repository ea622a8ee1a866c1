package extent

import (
	"bytes"
	"testing"
)

// An intent is read as it was written, and no other bytes are one.
func FuzzParsePunchIntent(f *testing.F) {
	header := fileHeader{id: 3, fence: 9, birth: 7}
	f.Add(appendPunchIntent(nil, punchIntent{id: 3, header: header, size: 32}))
	f.Add(appendPunchIntent(nil, punchIntent{id: 3, header: header, size: 1000,
		zeros: []stretch{{36, 100}, {200, 4}}, writes: []patch{{32, []byte("head")}, {900, bytes.Repeat([]byte{1}, 100)}}}))
	f.Fuzz(func(t *testing.T, buf []byte) {
		in, err := parsePunchIntent(buf)
		if err != nil {
			return
		}
		if again := appendPunchIntent(nil, in); !bytes.Equal(again, buf) {
			t.Fatalf("%+v does not encode to what it was parsed from", in)
		}
		for _, w := range in.writes {
			if w.pos < fileHeaderBytes || w.pos+int64(len(w.bytes)) > in.size {
				t.Fatalf("a write at %d in a file of %d bytes", w.pos, in.size)
			}
		}
	})
}

// No bit of an intent can flip, and no byte be missing, without it being noticed.
func TestDamagedPunchIntent(t *testing.T) {
	buf := appendPunchIntent(nil, punchIntent{id: 3, header: fileHeader{id: 3, fence: 9}, size: 1000,
		zeros: []stretch{{36, 100}}, writes: []patch{{32, []byte("head")}}})
	if _, err := parsePunchIntent(buf); err != nil {
		t.Fatal(err)
	}
	for i := range buf {
		if _, err := parsePunchIntent(buf[:i]); err == nil {
			t.Errorf("cut to %d of %d bytes, and not noticed", i, len(buf))
		}
		for bit := range 8 {
			buf[i] ^= 1 << bit
			if _, err := parsePunchIntent(buf); err == nil {
				t.Errorf("bit %d of byte %d flipped, and not noticed", bit, i)
			}
			buf[i] ^= 1 << bit
		}
	}
}
