package extent

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/datanode/datanode/crc32c"
)

// ID names an extent.
type ID uint64

// Birth tells an extent from another with the same ID in another history of the cell; 0: not known.
type Birth uint32

// Fence is the log index of the entry that let an operation start. Higher is newer.
type Fence uint64

// MaxRecordBytes is the largest payload of a record: what is read and verified at the least.
const MaxRecordBytes = 64 << 10

const (
	headerMagic uint32 = 0x58454e44 // "DNEX"
	recordMagic uint32 = 0x52454e44 // "DNER"

	formatVersion uint32 = 1 // of records alone
	formatStubs   uint32 = 2 // of records and stubs, see stub.go

	fileHeaderBytes   = 32
	recordHeaderBytes = 32
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// fileHeader opens an extent file. All integers are little-endian.
//
//	 0        4         8              16             24         28        32
//	+--------+---------+--------------+--------------+----------+---------+
//	| magic  | version | extent ID    | fence        | birth    | CRC32C  |
//	| "DNEX" | 1 or 2  |              | of creation  |          | of 0-27 |
//	+--------+---------+--------------+--------------+----------+---------+
//
// The birth is 0 in a file that was made when births were not kept yet: it may be any extent of its ID.
type fileHeader struct {
	id    ID
	fence Fence
	birth Birth
	stubs bool // there may be stubs among the records: format 2
}

func (h fileHeader) version() uint32 {
	if h.stubs {
		return formatStubs
	}
	return formatVersion
}

// sameFile reports whether both can be of one file, whatever its format.
func (h fileHeader) sameFile(g fileHeader) bool {
	h.stubs = g.stubs
	return h == g
}

func appendFileHeader(buf []byte, h fileHeader) []byte {
	start := len(buf)
	le := binary.LittleEndian
	buf = le.AppendUint32(buf, headerMagic)
	buf = le.AppendUint32(buf, h.version())
	buf = le.AppendUint64(buf, uint64(h.id))
	buf = le.AppendUint64(buf, uint64(h.fence))
	buf = le.AppendUint32(buf, uint32(h.birth))
	return le.AppendUint32(buf, crc32.Checksum(buf[start:], castagnoli))
}

func parseFileHeader(buf []byte) (rest []byte, h fileHeader, err error) {
	if len(buf) < fileHeaderBytes {
		return buf, h, fmt.Errorf("file header has %d bytes, want %d", len(buf), fileHeaderBytes)
	}
	le := binary.LittleEndian
	if m := le.Uint32(buf); m != headerMagic {
		return buf, h, fmt.Errorf("file header begins with %#x, want %#x", m, headerMagic)
	}
	if got, want := crc32.Checksum(buf[:28], castagnoli), le.Uint32(buf[28:]); got != want {
		return buf, h, fmt.Errorf("file header has checksum %#x, says %#x", got, want)
	}
	v := le.Uint32(buf[4:])
	if v != formatVersion && v != formatStubs {
		return buf, h, fmt.Errorf("file has format version %d, this program reads %d and %d", v, formatVersion, formatStubs)
	}
	h = fileHeader{id: ID(le.Uint64(buf[8:])), fence: Fence(le.Uint64(buf[16:])), birth: Birth(le.Uint32(buf[24:])),
		stubs: v == formatStubs}
	return buf[fileHeaderBytes:], h, nil
}

// Record is one piece of an extent in its file. A record without payload is a mark: it only says
// that all before it is durable.
//
//	 0        4         8              16             24         28        32
//	+--------+---------+--------------+--------------+----------+---------+---------------+
//	| magic  | payload | logical      | floor        | payload  | header  | payload       |
//	| "DNER" | length  | offset       |              | CRC32C   | CRC32C  | 0-64 KiB      |
//	+--------+---------+--------------+--------------+----------+---------+---------------+
//
// The payload's checksum is over extent ID, offset, length (20 bytes, as above) and payload; the
// header's over the extent ID and bytes 0-27. The header has one of its own so that a damaged payload
// does not hide where the next record begins.
type Record struct {
	Offset  uint64
	Floor   uint64 // logical length that was durable when this was written. Invariant: <= Offset
	Payload []byte // Invariant: at most MaxRecordBytes
}

// recordHeader is a record without its payload.
type recordHeader struct {
	offset, floor uint64
	length        uint32
	payloadSum    uint32
	stub          bool // it is one, and has no payload in the file
}

func (h recordHeader) end() uint64 { return h.offset + uint64(h.length) }

func (h recordHeader) fileBytes() int64 {
	if h.stub {
		return recordHeaderBytes
	}
	return recordHeaderBytes + int64(h.length)
}

func payloadSum(id ID, offset uint64, payload []byte) uint32 {
	return crc32.Update(boundSum(id, offset, len(payload)), castagnoli, payload)
}

// boundSum is the part of a payload's checksum that binds it to its place.
func boundSum(id ID, offset uint64, length int) uint32 {
	var bound [20]byte
	binary.LittleEndian.PutUint64(bound[:], uint64(id))
	binary.LittleEndian.PutUint64(bound[8:], offset)
	binary.LittleEndian.PutUint32(bound[16:], uint32(length))
	return crc32.Checksum(bound[:], castagnoli)
}

func headerSum(id ID, header []byte) uint32 {
	var bound [8]byte
	binary.LittleEndian.PutUint64(bound[:], uint64(id))
	return crc32.Update(crc32.Checksum(bound[:], castagnoli), castagnoli, header)
}

// AppendRecord appends the encoding of r, a record of extent id, to buf. The payload must not be
// longer than MaxRecordBytes.
func AppendRecord(buf []byte, id ID, r Record) []byte {
	return appendSummed(buf, id, r, crc32c.Sum(r.Payload))
}

// appendSummed is AppendRecord of a payload whose own CRC32C is known.
func appendSummed(buf []byte, id ID, r Record, sum uint32) []byte {
	start := len(buf)
	le := binary.LittleEndian
	buf = le.AppendUint32(buf, recordMagic)
	buf = le.AppendUint32(buf, uint32(len(r.Payload)))
	buf = le.AppendUint64(buf, r.Offset)
	buf = le.AppendUint64(buf, r.Floor)
	buf = le.AppendUint32(buf, crc32c.Combine(boundSum(id, r.Offset, len(r.Payload)), sum, int64(len(r.Payload))))
	buf = le.AppendUint32(buf, headerSum(id, buf[start:]))
	return append(buf, r.Payload...)
}

// ParseRecord takes a record of extent id off the front of buf and verifies it. The payload shares
// memory with buf. On an error rest is buf.
func ParseRecord(buf []byte, id ID) (rest []byte, r Record, err error) {
	h, err := parseRecordHeader(buf, id)
	if err != nil {
		return buf, Record{}, err
	}
	if int64(len(buf)) < h.fileBytes() {
		return buf, Record{}, fmt.Errorf("record has %d bytes, want %d", len(buf), h.fileBytes())
	}
	payload := buf[recordHeaderBytes:h.fileBytes():h.fileBytes()]
	if got := payloadSum(id, h.offset, payload); got != h.payloadSum {
		return buf, Record{}, fmt.Errorf("payload has checksum %#x, says %#x", got, h.payloadSum)
	}
	return buf[h.fileBytes():], Record{Offset: h.offset, Floor: h.floor, Payload: payload}, nil
}

func parseRecordHeader(buf []byte, id ID) (h recordHeader, err error) {
	if len(buf) < recordHeaderBytes {
		return h, fmt.Errorf("record header has %d bytes, want %d", len(buf), recordHeaderBytes)
	}
	le := binary.LittleEndian
	if m := le.Uint32(buf); m != recordMagic {
		return h, fmt.Errorf("record begins with %#x, want %#x", m, recordMagic)
	}
	if got, want := headerSum(id, buf[:28]), le.Uint32(buf[28:]); got != want {
		return h, fmt.Errorf("record header has checksum %#x, says %#x", got, want)
	}
	h = recordHeader{
		length:     le.Uint32(buf[4:]),
		offset:     le.Uint64(buf[8:]),
		floor:      le.Uint64(buf[16:]),
		payloadSum: le.Uint32(buf[24:]),
	}
	if h.length > MaxRecordBytes || h.floor > h.offset || h.end() < h.offset {
		return h, fmt.Errorf("record header cannot be: length %d, offset %d, floor %d", h.length, h.offset, h.floor)
	}
	return h, nil
}
