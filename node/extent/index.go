package extent

import (
	"slices"
	"sort"
)

// indexSpanBytes is how much of a file an index entry may cover whose records differ in length, and
// so how much a small read may have to read at most, next to one record.
const indexSpanBytes = 64 << 10

// index says where in the file an offset is. Records of equal length, as a large append makes
// them, share one entry however many they are; records that differ share one for each
// indexSpanBytes, and are found in it by reading from its start. A GiB costs from 24 bytes (one
// writer of whole records) to about 400 KiB. One entry for each record was rejected: small records
// would cost more memory than their number deserves.
//
// An index is not safe for concurrent use.
type index struct {
	entries []indexEntry // ascending in off and pos
	gaps    []gap        // damaged ranges, ascending
	end     uint64       // logical length
	endPos  int64        // where the next record goes in the file
}

type indexEntry struct {
	off  uint64
	pos  int64
	each uint32 // payload length of every record here; 0 if they differ
}

// gap is a range that no valid record covers, logically and in the file.
type gap struct {
	from, to    uint64
	pos, posEnd int64
}

func newIndex() index { return index{endPos: fileHeaderBytes} }

// clone is a copy that can be changed.
func (x index) clone() index {
	x.entries, x.gaps = slices.Clone(x.entries), slices.Clone(x.gaps)
	return x
}

// add notes a record of n bytes for offset off at pos in the file.
func (x *index) add(off uint64, n uint32, pos int64) {
	x.note(recordHeader{offset: off, length: n}, pos)
}

// note is add of a record, or a stub, with that header. Stubs share entries as records do that differ in length.
func (x *index) note(h recordHeader, pos int64) {
	off, n := h.offset, h.length
	contiguous := off == x.end && pos == x.endPos && !x.afterGap()
	x.end, x.endPos = h.end(), pos+h.fileBytes()
	if n == 0 {
		return // a mark: holds nothing to find
	}
	if last := len(x.entries) - 1; contiguous && last >= 0 {
		e := &x.entries[last]
		if !h.stub && e.each == n && pos == e.posOf(off) {
			return
		}
		if x.endPos-e.pos <= indexSpanBytes {
			e.each = 0
			return
		}
	}
	if h.stub {
		n = 0
	}
	x.entries = append(x.entries, indexEntry{off: off, pos: pos, each: n})
}

// addAll notes the records that an append of n bytes makes, and returns where the file then ends.
func (x *index) addAll(n int) {
	for n > 0 {
		k := min(n, MaxRecordBytes)
		x.add(x.end, uint32(k), x.endPos)
		n -= k
	}
}

// posOf is where the record that begins at off is, if all records before it have the same length.
func (e indexEntry) posOf(off uint64) int64 {
	k := (off - e.off) / uint64(e.each)
	return e.pos + int64(k)*(recordHeaderBytes+int64(e.each))
}

// span is a part of the file to read: it begins with the record at off, and everything up to pos
// limit is records that follow one another.
type span struct {
	off        uint64
	pos, limit int64
	each       uint32 // payload length of each of these records; 0 if unknown
}

// find returns a span that leads to the record holding off, which must be below x.end. ok is false
// if off is in a gap, which then begins at the span's off and pos.
func (x *index) find(off uint64) (s span, ok bool) {
	for _, g := range x.gaps {
		if g.from <= off && off < g.to {
			return span{off: g.from, pos: g.pos}, false
		}
	}
	i := sort.Search(len(x.entries), func(i int) bool { return x.entries[i].off > off }) - 1
	e := x.entries[i]
	s = span{off: e.off, pos: e.pos, limit: x.endPos, each: e.each}
	if i+1 < len(x.entries) {
		s.limit = x.entries[i+1].pos
	}
	for _, g := range x.gaps {
		if g.from > off {
			s.limit = min(s.limit, g.pos)
			break
		}
	}
	if e.each > 0 {
		s.off = off - (off-e.off)%uint64(e.each)
		s.pos = e.posOf(off)
	}
	return s, true
}

// cut forgets everything from the record on that begins at off and is at pos.
func (x *index) cut(off uint64, pos int64) {
	n := sort.Search(len(x.entries), func(i int) bool { return x.entries[i].off >= off })
	x.entries = x.entries[:n]
	for len(x.gaps) > 0 && x.gaps[len(x.gaps)-1].from >= off {
		x.gaps = x.gaps[:len(x.gaps)-1]
	}
	x.end, x.endPos = off, pos
}

// replace notes that one record holds [from, to) where several were, and that marks follow it up to posEnd. No other
// record has moved.
func (x *index) replace(from, to uint64, pos, posEnd int64) {
	begin := sort.Search(len(x.entries), func(i int) bool { return x.entries[i].off >= from })
	end := sort.Search(len(x.entries), func(i int) bool { return x.entries[i].off >= to })
	put := []indexEntry{{off: from, pos: pos}}
	if to < x.end && (end == len(x.entries) || x.entries[end].off > to) {
		last := x.entries[end-1]
		put = append(put, indexEntry{off: to, pos: posEnd, each: last.each})
	}
	x.entries = slices.Replace(x.entries, begin, end, put...)
}

// addGap notes that what follows the end, up to offset to at posEnd, is damaged.
func (x *index) addGap(to uint64, posEnd int64) {
	x.gaps = append(x.gaps, gap{from: x.end, to: to, pos: x.endPos, posEnd: posEnd})
	x.end, x.endPos = to, posEnd
}

// afterGap reports whether a gap was noted last. A gap ends an entry: its records would not follow one
// another.
func (x *index) afterGap() bool {
	n := len(x.gaps)
	return n > 0 && x.gaps[n-1].posEnd == x.endPos
}

// gapEnd is where the gap ends that holds off.
func (x *index) gapEnd(off uint64) uint64 {
	for _, g := range x.gaps {
		if g.from <= off && off < g.to {
			return g.to
		}
	}
	return off
}

// insertGap notes that a record in the middle is damaged. Its entry stays; find looks at gaps first.
func (x *index) insertGap(g gap) {
	x.gaps = append(x.gaps, g)
	sort.Slice(x.gaps, func(i, j int) bool { return x.gaps[i].from < x.gaps[j].from })
}
