package plugins

// cursor reads a module's bytes. The first error sticks, and every read after it gives zero.
type cursor struct {
	buf []byte
	off int // Invariant: 0 <= off <= len(buf)
	err error
}

func (c *cursor) left() int { return len(c.buf) - c.off }

func (c *cursor) refuse(reason LoadReason, format string, args ...any) {
	if c.err == nil {
		c.err = refuse(reason, format, args...)
	}
}

func (c *cursor) malformed(format string, args ...any) {
	c.refuse(Malformed, "not a valid module: "+format, args...)
}

func (c *cursor) byte() byte {
	if b := c.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

// bytes gives the next n bytes, without copying them.
func (c *cursor) bytes(n int) []byte {
	if c.err != nil {
		return nil
	}
	if n > c.left() {
		c.malformed("%d bytes are named where %d are left", n, c.left())
		return nil
	}
	b := c.buf[c.off : c.off+n]
	c.off += n
	return b
}

// sub is a cursor over the next n bytes alone.
func (c *cursor) sub(n uint32) *cursor {
	if c.err == nil && uint64(n) > uint64(c.left()) {
		c.malformed("%d bytes are named where %d are left", n, c.left())
		n = 0
	}
	return &cursor{buf: c.bytes(int(n)), err: c.err}
}

// count reads how many of something follow: each takes a byte at least, so a larger count is a lie.
func (c *cursor) count(most int, what string) int {
	n := c.u32()
	if c.err != nil {
		return 0
	}
	if uint64(n) > uint64(c.left()) {
		c.malformed("%d %s in %d bytes", n, what, c.left())
		return 0
	}
	if uint64(n) > uint64(most) {
		c.refuse(TooComplex, "%d %s, the most is %d", n, what, most)
		return 0
	}
	return int(n)
}

func (c *cursor) name() string {
	return string(c.bytes(c.count(maxNameBytes, "bytes in a name")))
}

// limits of a table or memory: at least, and at most where that is said.
func (c *cursor) limits() (least, most uint32, bounded bool) {
	switch flag := c.byte(); flag {
	case 0:
		return c.u32(), 0, false
	case 1:
		return c.u32(), c.u32(), true
	default:
		c.refuse(ForbiddenInstruction, "limits flag %#x: no shared or 64-bit memory", flag)
		return 0, 0, false
	}
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
	c.malformed("a number is too long")
	return 0
}

// s33 reads a signed LEB128 number of at most 33 bits.
func (c *cursor) s33() int64 {
	var v int64
	for shift := 0; shift < 35 && c.err == nil; shift += 7 {
		b := c.byte()
		v |= int64(b&0x7f) << shift
		if b < 0x80 {
			if b&0x40 != 0 {
				v |= -1 << (shift + 7)
			}
			return v
		}
	}
	c.malformed("a number is too long")
	return 0
}

// leb skips a LEB128 number of at most n bytes.
func (c *cursor) leb(n int) {
	for ; n > 0 && c.err == nil; n-- {
		if c.byte() < 0x80 {
			return
		}
	}
	c.malformed("a number is too long")
}
