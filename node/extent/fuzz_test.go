package extent

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"pgregory.net/rapid"

	"github.com/datanode/datanode/node/internal/vfs"
)

func FuzzParseRecord(f *testing.F) {
	f.Add(AppendRecord(nil, 7, Record{Offset: 10, Floor: 3, Payload: []byte("hello")}), uint64(7))
	f.Add(AppendRecord([]byte{}, 1, Record{Offset: 1 << 40, Floor: 1 << 40}), uint64(1))
	f.Fuzz(func(t *testing.T, buf []byte, id uint64) {
		rest, r, err := ParseRecord(buf, ID(id))
		if err != nil {
			if len(rest) != len(buf) {
				t.Fatalf("after %v, %d of %d bytes remain", err, len(rest), len(buf))
			}
			return
		}
		if again := AppendRecord(nil, ID(id), r); !bytes.Equal(again, buf[:len(buf)-len(rest)]) {
			t.Fatalf("%+v encodes to %x, was %x", r, again, buf[:len(buf)-len(rest)])
		}
		if _, _, err := ParseRecord(buf, ID(id)+1); err == nil {
			t.Fatal("the record is valid for another extent")
		}
	})
}

func FuzzParseCutIntent(f *testing.F) {
	f.Add(appendCutIntent(nil, cutIntent{id: 3, pos: 100, tail: []byte("tail")}))
	f.Fuzz(func(t *testing.T, buf []byte) {
		rest, c, err := parseCutIntent(buf)
		if err == nil && !bytes.Equal(appendCutIntent(nil, c), zeroed(buf[:len(buf)-len(rest)])) {
			t.Fatalf("%+v does not encode to what it was parsed from", c)
		}
	})
}

// zeroed is a cut intent as it is: its reserved bytes are under the checksum but not in the value.
func zeroed(buf []byte) []byte {
	if bytes.Equal(buf[24:28], []byte{0, 0, 0, 0}) {
		return buf
	}
	_, c, _ := parseCutIntent(buf)
	return appendCutIntent(nil, c)
}

func FuzzParseFileHeader(f *testing.F) {
	f.Add(appendFileHeader(nil, fileHeader{id: 3, fence: 9}))
	f.Fuzz(func(t *testing.T, buf []byte) {
		rest, h, err := parseFileHeader(buf)
		if err == nil && len(buf)-len(rest) != fileHeaderBytes {
			t.Fatalf("%+v took %d bytes", h, len(buf)-len(rest))
		}
	})
}

func FuzzParseFenceRecord(f *testing.F) {
	f.Add(appendFenceRecord(nil, fenceRecord{id: 3, fence: 9, floor: 2}))
	f.Fuzz(func(t *testing.T, buf []byte) {
		rest, r, err := parseFenceRecord(buf)
		if err == nil && !bytes.Equal(appendFenceRecord(nil, r), buf[:len(buf)-len(rest)]) {
			t.Fatalf("%+v does not encode to what it was parsed from", r)
		}
	})
}

// FuzzOpen puts anything behind a valid header and some records: Open must cope, and what it then
// says is there must be readable or reported as damaged.
func FuzzOpen(f *testing.F) {
	f.Add([]byte{}, uint16(0))
	f.Add(AppendRecord(nil, 1, Record{Offset: 600, Floor: 600, Payload: []byte("more")}), uint16(0))
	f.Add(AppendRecord(nil, 1, Record{Offset: 604, Floor: 604, Payload: []byte("beyond")}), uint16(700))
	f.Fuzz(func(t *testing.T, tail []byte, at uint16) {
		fs := vfs.NewMem()
		s, _ := open(t, fs)
		must(t, s.Create(1, 1, 0))
		must(t, s.Append(1, 1, 0, pattern(1, 300)))
		must(t, s.Append(1, 1, 300, pattern(2, 300)))
		must(t, s.Close())
		file, err := fs.OpenRW(s.dir.extent(1))
		must(t, err)
		put(t, file, tail, fileHeaderBytes+int64(at))
		s, report, err := Open(fs, "/data", Options{VerifyAll: true})
		must(t, err)
		if report.Extents != 1 {
			t.Fatalf("report:\n%s", report)
		}
		info, err := s.Stat(1)
		must(t, err)
		got := make([]byte, min(info.Length, 1<<20))
		_, err = s.ReadAt(1, got, 0)
		if (err == nil) != (len(info.Damaged) == 0) && info.Length <= 1<<20 {
			t.Fatalf("length %d, damaged %v, read says %v", info.Length, info.Damaged, err)
		}
		if info.Floor > 0 {
			wantCode(t, s.Seal(1, info.Floor-1), CodeBelowFloor)
		}
		switch err := s.Seal(1, info.Floor); CodeOf(err) {
		case CodeTooShort:
			if info.Floor <= info.Length {
				t.Fatalf("length %d, floor %d: %v", info.Length, info.Floor, err)
			}
		case CodeCorrupt:
			if len(info.Damaged) == 0 {
				t.Fatalf("nothing is damaged: %v", err)
			}
		default:
			must(t, err)
		}
		must(t, s.Close())
	})
}

// The index finds every offset of any sequence of records, marks, cuts and gaps.
func TestIndexModel(t *testing.T) {
	type rec struct {
		off uint64
		n   uint32
		pos int64
	}
	rapid.Check(t, func(t *rapid.T) {
		x := newIndex()
		var recs []rec
		size := rapid.SampledFrom([]uint32{1, 100, 100, 5000, MaxRecordBytes, MaxRecordBytes})
		for range rapid.IntRange(1, 60).Draw(t, "records") {
			switch rapid.IntRange(0, 9).Draw(t, "kind") {
			case 0:
				x.add(x.end, 0, x.endPos)
			case 1:
				lost := uint64(size.Draw(t, "lost"))
				x.addGap(x.end+lost, x.endPos+recordHeaderBytes+int64(lost))
			case 2:
				if len(recs) > 0 {
					last := recs[len(recs)-1]
					recs = recs[:len(recs)-1]
					x.cut(last.off, last.pos)
				}
			default:
				r := rec{x.end, size.Draw(t, "size"), x.endPos}
				recs = append(recs, r)
				x.add(r.off, r.n, r.pos)
			}
		}
		for i, r := range recs {
			for _, off := range []uint64{r.off, r.off + uint64(r.n)/2, r.off + uint64(r.n) - 1} {
				sp, ok := x.find(off)
				first := i
				for first > 0 && recs[first].pos > sp.pos {
					first--
				}
				if !ok || recs[first].pos != sp.pos || recs[first].off != sp.off || sp.limit < r.pos+recordHeaderBytes+int64(r.n) {
					t.Fatalf("offset %d of record %+v: found %+v, %v", off, r, sp, ok)
				}
				if sp.each == 0 && r.pos-sp.pos > indexSpanBytes {
					t.Fatalf("offset %d: %d bytes to be read first", off, r.pos-sp.pos)
				}
			}
		}
	})
}

func FuzzParseCatalogue(f *testing.F) {
	f.Add(appendCatalogue(nil, []listed{{3, nap{length: 5, fileBytes: 200, birth: 7}}, {9, nap{}}}))
	f.Add(appendCatalogue(nil, nil))
	f.Fuzz(func(t *testing.T, buf []byte) {
		var all []listed
		err := parseCatalogue(buf, func(e listed) { all = append(all, e) })
		if err == nil && len(appendCatalogue(nil, all)) != len(buf) {
			t.Fatalf("%d entries of %d bytes", len(all), len(buf))
		}
	})
}

// putFooterEnd makes length, version, sum and magic at the end of a footer right.
func putFooterEnd(buf []byte) {
	le, end := binary.LittleEndian, buf[len(buf)-footerEndBytes:]
	le.PutUint32(end, uint32(len(buf)))
	le.PutUint32(end[8:], crc32.Checksum(buf[:len(buf)-8], castagnoli))
}

func le64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
