package wire

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/datanode/datanode/crc32c"
)

// The first byte of a plaintext connection says what follows. A TLS connection starts with
// PreambleTLS, and its ALPN says it instead.
const (
	PreambleFrames byte = 'D'
	PreambleRaft   byte = 'R'
	PreambleSummed byte = 'C' // a raft stream in records with checksums
	PreambleTLS    byte = 0x16
)

const (
	// MaxChunkBytes is the most raw bytes one chunk carries.
	MaxChunkBytes = 256 << 10
	// ChunkCost is what each chunk takes of the credit besides its raw bytes, so that credit bounds
	// the receiver's bookkeeping too.
	ChunkCost = 256
	// DefaultMaxFrameBytes is the largest frame accepted unless configured otherwise: 1 MiB of
	// payload and room for what surrounds it.
	DefaultMaxFrameBytes = 1<<20 + 64<<10
	// MinMaxFrameBytes is the least a peer may announce as its largest frame.
	MinMaxFrameBytes = 64 << 10
	// FrameOverhead is the most a frame adds to its body and raw bytes.
	FrameOverhead = lengthBytes + MaxHeaderBytes + crcBytes

	lengthBytes = 4
	crcBytes    = 4
	// minFrameBytes is the smallest frame: its header has one byte for each element.
	minFrameBytes = lengthBytes + 1 + headerFields + crcBytes
	// sumApartBytes is from how many raw bytes on their sum is worth having: for fewer, joining it with the rest of
	// the frame's takes as long as summing them again.
	sumApartBytes = 1 << 10
)

// Frame is a parsed frame. Body and Raw alias the buffer it was parsed from.
type Frame struct {
	Header
	Body []byte
	Raw  []byte

	rawSum uint32
	summed bool // rawSum is that of Raw, from when the frame was checked
}

// RawSum is the CRC32C of Raw. known says that it is there since the frame was checked, as it is where Raw is long;
// where not it is 0.
func (f *Frame) RawSum() (sum uint32, known bool) { return f.rawSum, f.summed }

// AppendFrame appends a whole frame: h with its BodyLen set to that of body, then body, then raw.
func AppendFrame(buf []byte, h *Header, body, raw []byte) []byte {
	start := len(buf)
	buf = AppendFrameStart(buf, h, body, len(raw))
	buf = append(buf, raw...)
	return AppendFrameEnd(buf, buf[start:], nil)
}

// AppendFrameStart appends a frame's length, header and body, for a frame that goes on with rawLen
// raw bytes, which the caller writes itself so that they need no copy. The end is made by
// AppendFrameEnd.
func AppendFrameStart(buf []byte, h *Header, body []byte, rawLen int) []byte {
	start := len(buf)
	h.BodyLen = uint32(len(body))
	buf = append(buf, 0, 0, 0, 0)
	buf = AppendHeader(buf, h)
	buf = append(buf, body...)
	follows := len(buf) - start - lengthBytes + rawLen + crcBytes
	binary.LittleEndian.PutUint32(buf[start:], uint32(follows))
	return buf
}

// AppendFrameEnd appends the CRC of a frame, given all that precedes it: what AppendFrameStart
// appended, and the raw bytes.
func AppendFrameEnd(buf, start, raw []byte) []byte {
	return binary.LittleEndian.AppendUint32(buf, crc32c.Update(crc32c.Sum(start), raw))
}

// AppendFrameEndSum is AppendFrameEnd for rawLen raw bytes whose CRC32C is known.
func AppendFrameEndSum(buf, start []byte, rawSum uint32, rawLen int) []byte {
	return binary.LittleEndian.AppendUint32(buf, crc32c.Combine(crc32c.Sum(start), rawSum, int64(rawLen)))
}

// FrameSize is the size of the whole frame that buf starts with, from its first four bytes alone, so
// that a reader can refuse it before it allocates. It is 0 when buf is too short to tell.
func FrameSize(buf []byte, maxBytes int) (int, error) {
	if len(buf) < lengthBytes {
		return 0, nil
	}
	size := uint64(binary.LittleEndian.Uint32(buf)) + lengthBytes
	if size < minFrameBytes || size > uint64(maxBytes) {
		return 0, fmt.Errorf("frame of %d bytes: want %d to %d", size, minFrameBytes, maxBytes)
	}
	return int(size), nil
}

// ParseFrame reads the frame that buf starts with, which must be there in full. It allocates only
// to say what is wrong.
func ParseFrame(buf []byte) (rest []byte, f Frame, err error) {
	size, err := FrameSize(buf, math.MaxInt32)
	if err != nil {
		return nil, Frame{}, err
	}
	if size == 0 || size > len(buf) {
		return nil, Frame{}, fmt.Errorf("frame of %d bytes, of which only %d are there", size, len(buf))
	}
	content, sum := buf[:size-crcBytes], binary.LittleEndian.Uint32(buf[size-crcBytes:])
	payload, h, malformed := ParseHeader(content[lengthBytes:])
	if malformed == nil && uint64(h.BodyLen) > uint64(len(payload)) {
		malformed = fmt.Errorf("%s frame: body of %d bytes, but only %d are left", h.Kind, h.BodyLen, len(payload))
	}
	// What a header says is not believed before the sum is right. Where it says that the raw bytes begin, the sum
	// is only taken in two parts.
	f = Frame{Header: h}
	if malformed == nil {
		f.Body, f.Raw = payload[:h.BodyLen:h.BodyLen], payload[h.BodyLen:]
	}
	if crc := f.sum(content); crc != sum {
		return nil, Frame{}, fmt.Errorf("frame of %d bytes: CRC is %08x, want %08x as its bytes have", size, sum, crc)
	}
	if malformed != nil {
		return nil, Frame{}, malformed
	}
	return buf[size:], f, nil
}

// sum is the CRC of a frame's content, which ends with Raw. The sum of Raw is kept.
func (f *Frame) sum(content []byte) uint32 {
	if len(f.Raw) < sumApartBytes {
		return crc32c.Sum(content)
	}
	f.rawSum, f.summed = crc32c.Sum(f.Raw), true
	return crc32c.Combine(crc32c.Sum(content[:len(content)-len(f.Raw)]), f.rawSum, int64(len(f.Raw)))
}

// skimBytes is how much of a frame SkimFrame looks at at once: more than the longest header.
const skimBytes = 4 << 10

// SkimFrame checks a frame of size bytes, length included, without having all of it at once, and gives
// its header and the length of its raw bytes. next gives the following n bytes, which are used until it
// is called again; its errors are returned as they are.
func SkimFrame(size int, next func(n int) ([]byte, error)) (h Header, rawLen int, err error) {
	if size < minFrameBytes {
		return Header{}, 0, fmt.Errorf("frame of %d bytes: want %d or more", size, minFrameBytes)
	}
	var crc uint32
	var malformed error
	for at, end := 0, size-crcBytes; at < end; {
		piece, err := next(min(end-at, skimBytes))
		if err != nil {
			return Header{}, 0, err
		}
		if at == 0 {
			var rest []byte
			rest, h, malformed = ParseHeader(piece[lengthBytes:])
			rawLen = size - crcBytes - (len(piece) - len(rest)) - int(h.BodyLen)
		}
		crc = crc32c.Update(crc, piece)
		at += len(piece)
	}
	sum, err := next(crcBytes)
	switch {
	case err != nil:
		return Header{}, 0, err
	case crc != binary.LittleEndian.Uint32(sum):
		return Header{}, 0, fmt.Errorf("frame of %d bytes: CRC is %08x, want %08x as its bytes have", size, sum, crc)
	case malformed != nil:
		return Header{}, 0, malformed
	case rawLen < 0:
		return Header{}, 0, fmt.Errorf("%s frame: body of %d bytes, but only %d are left", h.Kind, h.BodyLen,
			rawLen+int(h.BodyLen))
	}
	return h, rawLen, nil
}
