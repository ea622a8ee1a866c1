package wire

import "encoding/binary"

// The msgpack codes written and read by hand. All others are the codec's business, or refused.
const (
	codeFixArray  = 0x90
	codeFixString = 0xa0
	codeNil       = 0xc0
	codeFalse     = 0xc2
	codeTrue      = 0xc3
	codeBytes8    = 0xc4
	codeUint8     = 0xcc
	codeUint16    = 0xcd
	codeUint32    = 0xce
	codeUint64    = 0xcf
	codeInt8      = 0xd0
	codeInt64     = 0xd3
	codeString8   = 0xd9

	minNegativeFixint = 0xe0

	maxPositiveFixint = 0x7f
)

// AppendUint appends v as the shortest msgpack unsigned integer.
func AppendUint(buf []byte, v uint64) []byte {
	switch {
	case v <= maxPositiveFixint:
		return append(buf, byte(v))
	case v <= 0xff:
		return append(buf, codeUint8, byte(v))
	case v <= 0xffff:
		return binary.BigEndian.AppendUint16(append(buf, codeUint16), uint16(v))
	case v <= 0xffff_ffff:
		return binary.BigEndian.AppendUint32(append(buf, codeUint32), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(buf, codeUint64), v)
}

// ParseUint reads one msgpack unsigned integer of any width; ok is false when buf does not start
// with a whole one.
func ParseUint(buf []byte) (rest []byte, v uint64, ok bool) {
	if len(buf) == 0 {
		return nil, 0, false
	}
	code, b := buf[0], buf[1:]
	switch {
	case code <= maxPositiveFixint:
		return b, uint64(code), true
	case code == codeUint8 && len(b) >= 1:
		return b[1:], uint64(b[0]), true
	case code == codeUint16 && len(b) >= 2:
		return b[2:], uint64(binary.BigEndian.Uint16(b)), true
	case code == codeUint32 && len(b) >= 4:
		return b[4:], uint64(binary.BigEndian.Uint32(b)), true
	case code == codeUint64 && len(b) >= 8:
		return b[8:], binary.BigEndian.Uint64(b), true
	}
	return nil, 0, false
}
