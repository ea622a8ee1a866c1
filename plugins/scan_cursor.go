package plugins

import (
	"errors"

	"github.com/datanode/datanode/plugins/internal/wasm"
)

// cursor reads a module's bytes, as wasm.Cursor does, and knows what is refused.
type cursor struct{ wasm.Cursor }

func (c *cursor) refuse(reason LoadReason, format string, args ...any) {
	c.Fail(refuse(reason, format, args...))
}

// sub is a cursor over the next n bytes alone.
func (c *cursor) sub(n uint32) *cursor { return &cursor{c.Sub(n)} }

// count reads how many of something follow, of which there may be so many.
func (c *cursor) count(most int, what string) int {
	n := c.Count(what)
	if n > most {
		c.refuse(TooComplex, "%d %s, the most is %d", n, what, most)
		return 0
	}
	return n
}

func (c *cursor) name() string {
	return string(c.Bytes(c.count(maxNameBytes, "bytes in a name")))
}

// limits of a table or memory: at least so many.
func (c *cursor) limits() (least uint32) {
	switch flag := c.Byte(); flag {
	case 0:
		return c.U32()
	case 1:
		least = c.U32()
		c.U32()
		return least
	default:
		c.refuse(ForbiddenInstruction, "limits flag %#x: no shared or 64-bit memory", flag)
		return 0
	}
}

// malformed is err as a reason for refusing a module.
func malformed(err error) error {
	if s := (*wasm.SyntaxError)(nil); errors.As(err, &s) {
		return refuse(Malformed, "not a valid module: %s", s.Detail)
	}
	return err
}
