package meter_test

import "encoding/binary"

// This file writes modules by hand, so that the tests need no other tool.

const (
	i32 = "\x7f"
	i64 = "\x7e"
	f32 = "\x7d"
	f64 = "\x7c"
)

func cat(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func uleb[T ~int | ~uint32 | ~uint64](n T) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func sleb(n int64) []byte {
	var out []byte
	for {
		b := byte(n & 0x7f)
		n >>= 7
		if n == 0 && b&0x40 == 0 || n == -1 && b&0x40 != 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}

func sized(body []byte) []byte { return cat(uleb(len(body)), body) }

// section is one that holds a vector of items; rawSection holds what it is given.
func section(id byte, items ...[]byte) []byte {
	return rawSection(id, cat(uleb(len(items)), cat(items...)))
}

func rawSection(id byte, body []byte) []byte { return cat([]byte{id}, sized(body)) }

func wasm(sections ...[]byte) []byte {
	return cat([]byte("\x00asm\x01\x00\x00\x00"), cat(sections...))
}

func funcType(params, results string) []byte {
	return cat([]byte{0x60}, sized([]byte(params)), sized([]byte(results)))
}

func export(name string, kind byte, index int) []byte {
	return cat(sized([]byte(name)), []byte{kind}, uleb(index))
}

// body is a function body with one local of each type in locals, and code without its last end.
func body(locals string, code ...[]byte) []byte {
	groups := uleb(len(locals))
	for _, t := range []byte(locals) {
		groups = append(groups, 1, t)
	}
	return sized(cat(groups, cat(code...), []byte{0x0b}))
}
