package meter

import (
	"errors"
	"fmt"

	"github.com/datanode/datanode/plugins/internal/wasm"
)

// cursor reads a part of a module, as wasm.Cursor does, and knows the errors of this package.
type cursor struct{ wasm.Cursor }

func (c *cursor) fail(reason Reason, format string, args ...any) {
	c.Fail(&Error{Reason: reason, Offset: c.Off, Detail: fmt.Sprintf(format, args...)})
}

// sub is a cursor over the next n bytes alone. Its error is to be handed back by done.
func (c *cursor) sub(n uint32) *cursor { return &cursor{c.Sub(n)} }

// done reports an error if anything is left to read.
func (c *cursor) done(what string) error {
	if c.Err == nil && c.Left() > 0 {
		c.Malformed("%s has %d bytes too many", what, c.Left())
	}
	return c.Err
}

// limits skips those of a table or a memory.
func (c *cursor) limits() {
	flag := c.Byte()
	if flag > 1 {
		c.Malformed("limits flag %#x, want 0 or 1", flag)
	}
	c.U32()
	if flag == 1 {
		c.U32()
	}
}

func (c *cursor) unknown(at int, op uint32) {
	c.Fail(&Error{UnknownOpcode, at, op, fmt.Sprintf("opcode %#x has no cost: build for the core "+
		"instructions, without SIMD, threads, tail calls, exceptions and table.grow", op)})
}

// typed is err as an *Error.
func typed(err error) error {
	if s := (*wasm.SyntaxError)(nil); errors.As(err, &s) {
		return &Error{Reason: Malformed, Offset: s.Offset, Detail: s.Detail}
	}
	return err
}
