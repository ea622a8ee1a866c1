package extent

import (
	"errors"
	"fmt"
	"io"

	"github.com/datanode/datanode/crc32c"
)

const (
	// readWindowBytes is the most that is asked of an extent at once.
	readWindowBytes = 256 << 10
	// partsBufferBytes holds the records that any readWindowBytes of an extent are in, if they are as long as can be.
	partsBufferBytes = (readWindowBytes/MaxRecordBytes + 1) * (recordHeaderBytes + MaxRecordBytes)
)

// Verified are bytes of an extent that have been checked against the sums of their records: in parts, since each record
// has a header in the file.
type Verified struct {
	Parts [][]byte
	Len   int    // of all parts
	Sum   uint32 // CRC32C of all parts
}

// PartsBufferBytes is how large a buffer should be to read n bytes into: one that holds the records that they are in,
// as far as they are read at once.
func PartsBufferBytes(n uint64) int {
	records := (min(n, readWindowBytes)+MaxRecordBytes-1)/MaxRecordBytes + 1
	return int(records) * (recordHeaderBytes + MaxRecordBytes)
}

// add takes a part that has this sum.
func (v *Verified) add(part []byte, sum uint32) {
	v.Parts = append(v.Parts, part)
	v.Len += len(part)
	v.Sum = crc32c.Combine(v.Sum, sum, int64(len(part)))
}

// parts reads up to n bytes from off on, which the index covers, into buf, which has room for a record; at least one if
// bad is nil.
func (r *reader) parts(op string, buf []byte, n, off uint64) (v Verified, bad *Error) {
	for end := off + n; off < end; {
		sp, ok := r.find(off)
		if !ok {
			return v, errCorrupt(op, r.id, sp.off, fmt.Errorf("no valid record is there"))
		}
		was := v.Len
		used, bad := r.span(op, buf, sp, off, end, &v)
		if bad != nil {
			return v, bad
		}
		off += uint64(v.Len - was)
		if buf = buf[used:]; len(buf) < recordHeaderBytes+MaxRecordBytes {
			break
		}
	}
	return v, nil
}

// span adds to v what the records of one span hold of [off, end), as far as buf has room for them: at least one byte if
// bad is nil. It says how much of buf that takes.
func (r *reader) span(op string, buf []byte, sp span, off, end uint64, v *Verified) (used int, bad *Error) {
	window, err := r.fill(buf, sp, end)
	fresh, was := true, v.Len // fresh: the window begins with the record that is looked at
	for err == nil && sp.pos < sp.limit && sp.off < end {
		var h recordHeader
		h, err = parsePieceHeader(window, r.id)
		if err == nil && int64(len(window)) < h.fileBytes() {
			err = fmt.Errorf("record of %d bytes reaches over the end of the file", h.fileBytes())
		}
		if err != nil && !fresh { // the window ends here, or what is here is damaged, which the next one will tell
			if v.Len > was {
				return used, nil
			}
			used, fresh = 0, true
			window, err = r.fill(buf, sp, end)
			continue
		}
		if err == nil && h.offset != sp.off {
			err = fmt.Errorf("record says it is for offset %d", h.offset)
		}
		if err == nil && h.end() > off && h.stub {
			v.addStub(h, window, off, end)
		} else if err == nil && h.end() > off {
			err = r.verify(h, window[recordHeaderBytes:h.fileBytes()], off, end, v)
		}
		if err != nil {
			break
		}
		window, fresh = window[h.fileBytes():], false
		used += int(h.fileBytes())
		sp.off, sp.pos = h.end(), sp.pos+h.fileBytes()
	}
	switch {
	case err != nil:
		return used, r.s.doubt(errCorrupt(op, r.id, sp.off, err))
	case v.Len == was:
		return used, r.s.doubt(errCorrupt(op, r.id, off, fmt.Errorf("records end at %d", sp.off)))
	}
	return used, nil
}

// verify checks a record's payload, and adds what it holds of [off, end) to v. Each byte is summed once: what is wanted
// of the record apart from what comes before and after it.
func (r *reader) verify(h recordHeader, payload []byte, off, end uint64, v *Verified) error {
	from, to := max(off, h.offset)-h.offset, min(end, h.end())-h.offset
	part := payload[from:to:to]
	sum := crc32c.Sum(part)
	whole := crc32c.Combine(crc32c.Sum(payload[:from]), sum, int64(len(part)))
	whole = crc32c.Update(whole, payload[to:])
	if got := crc32c.Combine(boundSum(r.id, h.offset, int(h.length)), whole, int64(h.length)); got != h.payloadSum {
		return fmt.Errorf("payload has checksum %#x, says %#x", got, h.payloadSum)
	}
	v.add(part, sum)
	return nil
}

// fill reads the file from the start of a span, no further than is needed for bytes before end: whole records, where
// it is known how long they are.
func (r *reader) fill(buf []byte, sp span, end uint64) ([]byte, error) {
	want := min(int64(len(buf)), sp.limit-sp.pos)
	if each := recordHeaderBytes + int64(sp.each); end > sp.off && sp.each > 0 {
		records := (int64(end-sp.off) + int64(sp.each) - 1) / int64(sp.each)
		want = min(want, records*each, int64(len(buf))/each*each)
	}
	n, err := r.file.ReadAt(buf[:want], sp.pos)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return buf[:n], err
}
