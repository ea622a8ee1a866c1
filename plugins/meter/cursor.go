package meter

import "fmt"

// cursor reads a part of a module. The first error sticks, and every read after it gives zero.
type cursor struct {
	module []byte
	off    int // Invariant: 0 <= off <= end
	end    int // Invariant: end <= len(module)
	err    error
}

func (c *cursor) left() int { return c.end - c.off }

func (c *cursor) fail(reason Reason, format string, args ...any) {
	if c.err == nil {
		c.err = &Error{Reason: reason, Offset: c.off, Detail: fmt.Sprintf(format, args...)}
	}
}

// bytes gives the next n bytes, without copying them.
func (c *cursor) bytes(n int) []byte {
	if c.err != nil {
		return nil
	}
	if n > c.left() {
		c.fail(Malformed, "%d bytes are named where %d are left", n, c.left())
		return nil
	}
	b := c.module[c.off : c.off+n]
	c.off += n
	return b
}

func (c *cursor) byte() byte {
	if c.err == nil && c.off < c.end {
		b := c.module[c.off]
		c.off++
		return b
	}
	c.bytes(1)
	return 0
}

// peek gives the next byte without reading it; 0 at the end.
func (c *cursor) peek() byte {
	if c.off == c.end {
		return 0
	}
	return c.module[c.off]
}

// sub is a cursor over the next n bytes alone. Its error is to be handed back by leave.
func (c *cursor) sub(n uint32) *cursor {
	from := c.off
	if c.err == nil && uint64(n) > uint64(c.left()) {
		c.fail(Malformed, "%d bytes are named where %d are left", n, c.left())
		n = 0
	}
	c.bytes(int(n))
	return &cursor{module: c.module, off: from, end: c.off, err: c.err}
}

// done reports an error if anything is left to read.
func (c *cursor) done(what string) error {
	if c.err == nil && c.left() > 0 {
		c.fail(Malformed, "%s has %d bytes too many", what, c.left())
	}
	return c.err
}

// count reads how many of something follow: each takes a byte at least, so a larger count is a lie.
func (c *cursor) count(what string) int {
	n := c.u32()
	if c.err == nil && uint64(n) > uint64(c.left()) {
		c.fail(Malformed, "%d %s in %d bytes", n, what, c.left())
	}
	if c.err != nil {
		return 0
	}
	return int(n)
}

// index reads an index that must be below n.
func (c *cursor) index(n int, what string) int {
	i := c.u32()
	if c.err == nil && uint64(i) >= uint64(n) {
		c.fail(Malformed, "%s %d of %d", what, i, n)
	}
	if c.err != nil {
		return 0
	}
	return int(i)
}

// u32 reads an unsigned LEB128 number of at most 32 bits.
func (c *cursor) u32() uint32 {
	var v uint64
	for shift := 0; shift < 35 && c.err == nil; shift += 7 {
		b := c.byte()
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if v > 1<<32-1 {
				break
			}
			return uint32(v)
		}
	}
	c.fail(Malformed, "a number of more than 32 bits")
	return 0
}

// leb skips a LEB128 number of at most n bytes.
func (c *cursor) leb(n int) {
	for ; n > 0 && c.err == nil; n-- {
		if c.byte() < 0x80 {
			return
		}
	}
	c.fail(Malformed, "a number is too long")
}

// valueType skips one. All are of one byte: longer ones would let what follows them be taken for
// something else than the compiler takes it for.
func (c *cursor) valueType() {
	switch t := c.byte(); t {
	case typeI32, typeI64, typeF32, typeF64, typeFuncref, typeExternref:
	default:
		c.fail(Malformed, "value type %#x", t)
	}
}

// zero skips a byte that is reserved.
func (c *cursor) zero() {
	if b := c.byte(); b != 0 {
		c.fail(Malformed, "%#x, where only 0 is defined", b)
	}
}

// limits skips those of a table or a memory.
func (c *cursor) limits() {
	flag := c.byte()
	if flag > 1 {
		c.fail(Malformed, "limits flag %#x, want 0 or 1", flag)
	}
	c.u32()
	if flag == 1 {
		c.u32()
	}
}
