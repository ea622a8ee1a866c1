package extent

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
)

// Ranges here are ascending and neither overlap nor touch.

// clip is the part of ranges before end.
func clip(rs []Range, end uint64) []Range {
	out := make([]Range, 0, len(rs))
	for _, r := range rs {
		if r.To = min(r.To, end); r.From < r.To {
			out = append(out, r)
		}
	}
	return out
}

// union is what is in either.
func union(a, b []Range) []Range {
	all := slices.Concat(a, b)
	slices.SortFunc(all, func(x, y Range) int { return cmp.Compare(x.From, y.From) })
	out := all[:0]
	for _, r := range all {
		if last := len(out) - 1; last >= 0 && r.From <= out[last].To {
			out[last].To = max(out[last].To, r.To)
			continue
		}
		out = append(out, r)
	}
	return out
}

// minus is what is in a and not in b.
func minus(a, b []Range) (out []Range) {
	for _, r := range a {
		for len(b) > 0 && b[0].To <= r.From {
			b = b[1:]
		}
		for _, no := range b {
			if no.From >= r.To {
				break
			}
			if r.From < no.From {
				out = append(out, Range{r.From, no.From})
			}
			r.From = no.To
		}
		if r.From < r.To {
			out = append(out, r)
		}
	}
	return out
}

// firstBehind is which of ranges is the first that ends behind off; len(rs) if none does.
func firstBehind(rs []Range, off uint64) int {
	return sort.Search(len(rs), func(i int) bool { return rs[i].To > off })
}

// appendRanges appends ranges: their number, and of each how far it is from the end of the one before and how long it
// is, as varints.
func appendRanges(buf []byte, rs []Range) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(rs)))
	last := uint64(0)
	for _, r := range rs {
		buf = binary.AppendUvarint(buf, r.From-last)
		buf = binary.AppendUvarint(buf, r.To-r.From)
		last = r.To
	}
	return buf
}

// uvarints reads numbers one after the other.
type uvarints struct {
	buf   []byte // what is left
	short bool   // a number was asked for that was not there, and is 0
}

func (u *uvarints) next() uint64 {
	v, n := binary.Uvarint(u.buf)
	if n <= 0 {
		u.short = true
		return 0
	}
	u.buf = u.buf[n:]
	return v
}

// parseRanges reads ranges of an extent of end bytes.
func parseRanges(buf []byte, end uint64) ([]Range, error) {
	in := uvarints{buf: buf}
	count := in.next()
	if count > uint64(len(in.buf)/2) {
		return nil, fmt.Errorf("%d ranges in %d bytes", count, len(in.buf))
	}
	out, last := make([]Range, 0, count), uint64(0)
	for i := range count {
		gap, n := in.next(), in.next()
		if in.short || n == 0 || gap > end-last || n > end-last-gap || i > 0 && gap == 0 {
			return nil, fmt.Errorf("range %d cannot be: %d bytes, %d behind %d of %d", i, n, gap, last, end)
		}
		out = append(out, Range{last + gap, last + gap + n})
		last += gap + n
	}
	if len(in.buf) > 0 {
		return nil, fmt.Errorf("%d bytes after the ranges", len(in.buf))
	}
	return out, nil
}
