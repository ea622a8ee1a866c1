package extent

import (
	"encoding/binary"
	"fmt"

	"github.com/datanode/datanode/crc32c"
)

// A stub is what a rewritten file has of deleted bytes: a header alone, for bytes of the extent that lie between two
// multiples of partSumBytes. They read as a punch would have left them: four bytes, and zeros, with the sum that the
// bytes had which were stored.
//
//	 0        4         8              16             24           28        32
//	+--------+---------+--------------+--------------+------------+---------+
//	| magic  | length  | logical      | floor        | first four | header  |
//	| "DNEG" |         | offset       |              | bytes      | CRC32C  |
//	+--------+---------+--------------+--------------+------------+---------+
//
// Of fewer than four bytes the first are those, and what is left of the field is 0. The header's sum is that of a
// record: of the extent ID and bytes 0-27. Files of format 2 have stubs among their records, others have none.
const stubMagic uint32 = 0x47454e44 // "DNEG"

// stubHead is where a stub's first bytes are in it, and stubHeadBytes how many there are at the most.
const (
	stubHead      = 24
	stubHeadBytes = 4
)

// zeros are what follows the first bytes of a stub. Nobody writes to them.
var zeros [MaxRecordBytes]byte

// appendStub appends a stub, of which first are the first bytes, to buf. Its floor is as that of a record.
func appendStub(buf []byte, id ID, r Range, floor uint64, first [stubHeadBytes]byte) []byte {
	start := len(buf)
	le := binary.LittleEndian
	buf = le.AppendUint32(buf, stubMagic)
	buf = le.AppendUint32(buf, uint32(r.To-r.From))
	buf = le.AppendUint64(buf, r.From)
	buf = le.AppendUint64(buf, floor)
	buf = append(buf, first[:]...)
	return le.AppendUint32(buf, headerSum(id, buf[start:]))
}

// parsePieceHeader is parseRecordHeader, where a stub may be as well.
func parsePieceHeader(buf []byte, id ID) (h recordHeader, err error) {
	le := binary.LittleEndian
	if len(buf) < recordHeaderBytes || le.Uint32(buf) != stubMagic {
		return parseRecordHeader(buf, id)
	}
	if got, want := headerSum(id, buf[:28]), le.Uint32(buf[28:]); got != want {
		return h, fmt.Errorf("stub has checksum %#x, says %#x", got, want)
	}
	h = recordHeader{stub: true, length: le.Uint32(buf[4:]), offset: le.Uint64(buf[8:]), floor: le.Uint64(buf[16:])}
	if h.length == 0 || h.floor > h.offset || h.end() < h.offset || h.offset/partSumBytes != (h.end()-1)/partSumBytes {
		return h, fmt.Errorf("stub cannot be: length %d, offset %d, floor %d", h.length, h.offset, h.floor)
	}
	return h, nil
}

// parsePiece is ParseRecord, where a stub may be as well, whose payload is made.
func parsePiece(buf []byte, id ID) (rest []byte, r Record, stub bool, err error) {
	h, err := parsePieceHeader(buf, id)
	if err != nil || !h.stub {
		rest, r, err = ParseRecord(buf, id)
		return rest, r, false, err
	}
	r = Record{Offset: h.offset, Floor: h.floor, Payload: make([]byte, h.length)}
	copy(r.Payload, buf[stubHead:stubHead+stubHeadBytes])
	return buf[recordHeaderBytes:], r, true, nil
}

// addStub adds to v what a stub, whose header begins raw, has of [off, end).
func (v *Verified) addStub(h recordHeader, raw []byte, off, end uint64) {
	from, to := max(off, h.offset)-h.offset, min(end, h.end())-h.offset
	if head := min(to, stubHeadBytes); from < head {
		first := raw[stubHead+from : stubHead+head : stubHead+head]
		v.add(first, crc32c.Sum(first))
		from = head
	}
	if from < to {
		v.add(zeros[:to-from:to-from], crc32c.Zeros(int64(to-from)))
	}
}
