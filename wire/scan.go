package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// MaxDepth is how deep arrays and maps may nest in a body.
const MaxDepth = 16

var (
	errScanShort = errors.New("msgpack: ends in the middle of a value")
	errScanDepth = errors.New("msgpack: nested deeper than 16")
	errScanCount = errors.New("msgpack: declares more elements than bytes remain")
	errScanTail  = errors.New("msgpack: bytes after the value")
)

// Scan checks that b is exactly one msgpack value that is safe to decode: nested at most MaxDepth
// deep, and with no declared count or length beyond the bytes that remain. Extension types are
// refused, since the codec would look inside them for more values. It does not allocate, and its
// work is linear in len(b).
func Scan(b []byte) error {
	rest, err := ScanOne(b)
	if err == nil && len(rest) != 0 {
		err = errScanTail
	}
	return err
}

// ScanOne is Scan of the first value in b. It answers what follows it.
func ScanOne(b []byte) (rest []byte, err error) {
	var pending [MaxDepth + 1]uint64 // values still to come at each depth
	depth := 0
	pending[0] = 1
	for {
		for pending[depth] == 0 {
			if depth == 0 {
				return b, nil
			}
			depth--
		}
		pending[depth]--
		rest, children, err := scanOne(b)
		if err != nil {
			return nil, err
		}
		b = rest
		if children == 0 {
			continue
		}
		if children > uint64(len(b)) {
			return nil, errScanCount
		}
		if depth == MaxDepth {
			return nil, errScanDepth
		}
		depth++
		pending[depth] = children
	}
}

// scanOne steps over one value, or over the head of an array or map that children values follow.
func scanOne(b []byte) (rest []byte, children uint64, err error) {
	if len(b) == 0 {
		return nil, 0, errScanShort
	}
	code := b[0]
	b = b[1:]
	switch {
	case code <= 0x7f || code >= 0xe0: // fixint
		return b, 0, nil
	case code <= 0x8f: // fixmap
		return b, 2 * uint64(code&0x0f), nil
	case code <= 0x9f: // fixarray
		return b, uint64(code & 0x0f), nil
	case code <= 0xbf: // fixstr
		return scanSkip(b, uint64(code&0x1f))
	}
	return scanLong(code, b)
}

// scanLong steps over a value whose code is 0xc0 to 0xdf.
func scanLong(code byte, b []byte) (rest []byte, children uint64, err error) {
	switch code {
	case 0xc0, 0xc2, 0xc3: // nil, false, true
		return b, 0, nil
	case 0xcc, 0xd0: // 8-bit
		return scanSkip(b, 1)
	case 0xcd, 0xd1: // 16-bit
		return scanSkip(b, 2)
	case 0xce, 0xd2, 0xca: // 32-bit
		return scanSkip(b, 4)
	case 0xcf, 0xd3, 0xcb: // 64-bit
		return scanSkip(b, 8)
	case 0xc4, 0xd9, 0xc5, 0xda, 0xc6, 0xdb: // bin and str
		n, b, err := scanLength(b, lengthWidth(code))
		if err != nil {
			return nil, 0, err
		}
		return scanSkip(b, n)
	case 0xdc, 0xdd: // array
		n, b, err := scanLength(b, lengthWidth(code))
		return b, n, err
	case 0xde, 0xdf: // map
		n, b, err := scanLength(b, lengthWidth(code))
		return b, 2 * n, err
	}
	return nil, 0, fmt.Errorf("msgpack: code %#02x is not accepted", code)
}

// lengthWidth is how many bytes of length follow code.
func lengthWidth(code byte) int {
	switch code {
	case 0xc4, 0xd9:
		return 1
	case 0xc5, 0xda, 0xdc, 0xde:
		return 2
	}
	return 4
}

func scanLength(b []byte, width int) (n uint64, rest []byte, err error) {
	if len(b) < width {
		return 0, nil, errScanShort
	}
	switch width {
	case 1:
		n = uint64(b[0])
	case 2:
		n = uint64(binary.BigEndian.Uint16(b))
	default:
		n = uint64(binary.BigEndian.Uint32(b))
	}
	return n, b[width:], nil
}

func scanSkip(b []byte, n uint64) ([]byte, uint64, error) {
	if n > uint64(len(b)) {
		return nil, 0, errScanShort
	}
	return b[n:], 0, nil
}
