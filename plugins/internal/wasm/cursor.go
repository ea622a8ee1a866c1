package wasm

import "fmt"

// Cursor reads a part of a module. The first error sticks, and every read after it gives zero.
type Cursor struct {
	Module []byte
	Off    int // Invariant: 0 <= Off <= End
	End    int // Invariant: End <= len(Module)
	Err    error
}

// SyntaxError says where a module is not what it must be.
type SyntaxError struct {
	Offset int // of the byte in the module where that was found
	Detail string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("byte %d: not a valid module: %s", e.Offset, e.Detail)
}

// Read is a cursor over all of a module.
func Read(module []byte) Cursor { return Cursor{Module: module, End: len(module)} }

// Left is how many bytes are left to read.
func (c *Cursor) Left() int { return c.End - c.Off }

// Fail makes err the cursor's error, if it is the first.
func (c *Cursor) Fail(err error) {
	if c.Err == nil {
		c.Err = err
	}
}

// Malformed makes a *SyntaxError at this place the cursor's error, if it is the first.
func (c *Cursor) Malformed(format string, args ...any) {
	if c.Err == nil {
		c.Err = &SyntaxError{c.Off, fmt.Sprintf(format, args...)}
	}
}

// Bytes gives the next n bytes, without copying them.
func (c *Cursor) Bytes(n int) []byte {
	if c.Err != nil {
		return nil
	}
	if n > c.Left() {
		c.Malformed("%d bytes are named where %d are left", n, c.Left())
		return nil
	}
	b := c.Module[c.Off : c.Off+n]
	c.Off += n
	return b
}

// Byte reads one.
func (c *Cursor) Byte() byte {
	if c.Err == nil && c.Off < c.End {
		b := c.Module[c.Off]
		c.Off++
		return b
	}
	c.Bytes(1)
	return 0
}

// Peek gives the next byte without reading it; 0 at the end.
func (c *Cursor) Peek() byte {
	if c.Off == c.End {
		return 0
	}
	return c.Module[c.Off]
}

// Sub is a cursor over the next n bytes alone, which are read here. Its error is not handed back.
func (c *Cursor) Sub(n uint32) Cursor {
	from := c.Off
	if c.Err == nil && uint64(n) > uint64(c.Left()) {
		c.Malformed("%d bytes are named where %d are left", n, c.Left())
		n = 0
	}
	c.Bytes(int(n))
	return Cursor{Module: c.Module, Off: from, End: c.Off, Err: c.Err}
}

// Count reads how many of something follow: each takes a byte at least, so a larger count is a lie.
func (c *Cursor) Count(what string) int {
	n := c.U32()
	if c.Err == nil && uint64(n) > uint64(c.Left()) {
		c.Malformed("%d %s in %d bytes", n, what, c.Left())
	}
	if c.Err != nil {
		return 0
	}
	return int(n)
}

// Index reads an index that must be below n.
func (c *Cursor) Index(n int, what string) int {
	i := c.U32()
	if c.Err == nil && uint64(i) >= uint64(n) {
		c.Malformed("%s %d of %d", what, i, n)
	}
	if c.Err != nil {
		return 0
	}
	return int(i)
}

// U32 reads an unsigned LEB128 number of at most 32 bits.
func (c *Cursor) U32() uint32 {
	var v uint64
	for shift := 0; shift < 35 && c.Err == nil; shift += 7 {
		b := c.Byte()
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if v > 1<<32-1 {
				break
			}
			return uint32(v)
		}
	}
	c.Malformed("a number is too long: more than 32 bits")
	return 0
}

// Skip skips a LEB128 number of at most n bytes.
func (c *Cursor) Skip(n int) {
	for ; n > 0 && c.Err == nil; n-- {
		if c.Byte() < 0x80 {
			return
		}
	}
	c.Malformed("a number is too long")
}

// ValueType reads one. All are of one byte: longer ones would let what follows them be taken for
// something else than the compiler takes it for.
func (c *Cursor) ValueType() byte {
	t := c.Byte()
	switch t {
	case I32, I64, F32, F64, Funcref, Externref:
	default:
		c.Malformed("value type %#x", t)
	}
	return t
}

// BlockType reads the type of a block: the index of one of n function types; or, without any, whether
// it gives a value (1) or none (0).
func (c *Cursor) BlockType(n int) (index, values int) {
	switch b := c.Peek(); {
	case b == BlockEmpty:
		c.Byte()
		return -1, 0
	case b&0xc0 == BlockEmpty: // a negative number of one byte
		c.ValueType()
		return -1, 1
	}
	return c.Index(n, "block type"), 0
}

// Zero skips a byte that is reserved.
func (c *Cursor) Zero() {
	if b := c.Byte(); b != 0 {
		c.Malformed("%#x, where only 0 is defined", b)
	}
}
