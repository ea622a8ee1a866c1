package wire

import (
	"fmt"
	"hash/maphash"
	"io"
)

// source is what a decoder reads.
type source struct {
	b    []byte
	last []byte // b before the last ReadByte, for UnreadByte
}

func (s *source) nextIsNil() bool { return len(s.b) > 0 && s.b[0] == codeNil }

// nextIsNegative reports whether the next value is an integer below 0.
func (s *source) nextIsNegative() bool {
	if len(s.b) == 0 {
		return false
	}
	code := s.b[0]
	return code >= minNegativeFixint || code >= codeInt8 && code <= codeInt64 && len(s.b) > 1 && s.b[1]&0x80 != 0
}

// nextIsAboveInt64 reports whether the next value is an integer that no signed one can be.
func (s *source) nextIsAboveInt64() bool {
	return len(s.b) > 1 && s.b[0] == codeUint64 && s.b[1]&0x80 != 0
}

func (s *source) Read(p []byte) (int, error) {
	if len(s.b) == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	n := copy(p, s.b)
	s.b, s.last = s.b[n:], nil
	return n, nil
}

func (s *source) ReadByte() (byte, error) {
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	c := s.b[0]
	s.last, s.b = s.b, s.b[1:]
	return c, nil
}

func (s *source) UnreadByte() error {
	if s.last == nil {
		return fmt.Errorf("unread without a read")
	}
	s.b, s.last = s.last, nil
	return nil
}

// to goes on at rest, the end of what is left.
func (s *source) to(rest []byte) { s.b, s.last = rest, nil }

func (s *source) skip(n int) { s.to(s.b[n:]) }

// The functions below take the values that nearly all of a message is made of, without the library, which reads a byte
// a call. Of anything else, and of what ends too early, they take nothing, and the library decides.

// takeBool takes a boolean.
func (s *source) takeBool() (value, ok bool) {
	if len(s.b) == 0 || s.b[0] != codeFalse && s.b[0] != codeTrue {
		return false, false
	}
	value = s.b[0] == codeTrue
	s.skip(1)
	return value, true
}

// takeShortArray takes the head of an array of up to 15 elements.
func (s *source) takeShortArray() (n int, ok bool) {
	if len(s.b) == 0 || s.b[0]&^0x0f != codeFixArray {
		return 0, false
	}
	n = int(s.b[0] & 0x0f)
	s.skip(1)
	return n, true
}

// takeString takes a string of up to 255 bytes. They are good until the message is.
func (s *source) takeString() (b []byte, ok bool) {
	head, n := 1, 0
	switch {
	case len(s.b) > 0 && s.b[0]&^0x1f == codeFixString:
		n = int(s.b[0] & 0x1f)
	case len(s.b) > 1 && s.b[0] == codeString8:
		head, n = 2, int(s.b[1])
	default:
		return nil, false
	}
	if n > len(s.b)-head {
		return nil, false
	}
	b = s.b[head : head+n]
	s.skip(head + n)
	return b, true
}

// takeBytes takes bytes where there are n of them, up to 255. They are good until the message is.
func (s *source) takeBytes(n int) (b []byte, ok bool) {
	const head = 2
	if len(s.b) < head+n || s.b[0] != codeBytes8 || int(s.b[1]) != n {
		return nil, false
	}
	b = s.b[head : head+n]
	s.skip(head + n)
	return b, true
}

// knownStrings are strings that were decoded before, to be used again: messages and logs say the same names, digests
// and reasons over and over. Each slot has the last one that fell there, so that they are bounded.
type knownStrings struct {
	seed  maphash.Seed
	slots []string
}

const (
	knownSlots    = 512 // a power of two
	maxKnownBytes = 96
)

func (k *knownStrings) string(b []byte) string {
	if len(b) == 0 || len(b) > maxKnownBytes {
		return string(b)
	}
	if k.slots == nil {
		k.seed, k.slots = maphash.MakeSeed(), make([]string, knownSlots)
	}
	slot := &k.slots[maphash.Bytes(k.seed, b)%knownSlots]
	if *slot != string(b) {
		*slot = string(b)
	}
	return *slot
}
