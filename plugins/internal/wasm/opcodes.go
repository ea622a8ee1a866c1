package wasm

// Instructions that are told apart, by their opcodes (core specification 2.0, §5.4).
const (
	OpUnreachable  = 0x00
	OpNop          = 0x01
	OpBlock        = 0x02
	OpLoop         = 0x03
	OpIf           = 0x04
	OpElse         = 0x05
	OpEnd          = 0x0b
	OpBr           = 0x0c
	OpBrIf         = 0x0d
	OpBrTable      = 0x0e
	OpReturn       = 0x0f
	OpCall         = 0x10
	OpCallIndirect = 0x11
	OpDrop         = 0x1a
	OpSelect       = 0x1b
	OpSelectTyped  = 0x1c
	OpLocalGet     = 0x20
	OpLocalSet     = 0x21
	OpLocalTee     = 0x22
	OpGlobalGet    = 0x23
	OpGlobalSet    = 0x24
	OpTableGet     = 0x25
	OpTableSet     = 0x26
	OpLoadFirst    = 0x28
	OpStoreFirst   = 0x36
	OpStoreLast    = 0x3e
	OpMemorySize   = 0x3f
	OpMemoryGrow   = 0x40
	OpI32Const     = 0x41
	OpI64Const     = 0x42
	OpF32Const     = 0x43
	OpF64Const     = 0x44
	OpNumericFirst = 0x45 // the numeric instructions have no immediates
	OpI32Eqz       = 0x45
	OpI64Eqz       = 0x50
	OpI64LtS       = 0x53
	OpFloatCmp     = 0x5b // f32.eq to
	OpFloatCmpLast = 0x66 // f64.ge
	OpI32Clz       = 0x67 // and i32.ctz
	OpI32Popcnt    = 0x69
	OpI32Mul       = 0x6c
	OpI32DivS      = 0x6d // and three more
	OpI32RemU      = 0x70
	OpI64Clz       = 0x79 // and i64.ctz
	OpI64Popcnt    = 0x7b
	OpI64Sub       = 0x7d
	OpI64Mul       = 0x7e
	OpI64DivS      = 0x7f // and three more
	OpI64RemU      = 0x82
	OpI64Shl       = 0x86
	OpI64ShrU      = 0x88
	OpFloatFirst   = 0x8b // f32.abs
	OpF32Sqrt      = 0x91
	OpF32Div       = 0x95
	OpF64Abs       = 0x99
	OpF64Sqrt      = 0x9f
	OpF64Div       = 0xa3
	OpFloatLast    = 0xa6 // f64.copysign
	OpI32Wrap      = 0xa7 // from here on all have one operand
	OpTruncFirst   = 0xa8 // i32.trunc_f32_s and the other conversions to integers
	OpI64ExtendS   = 0xac // i64.extend_i32_s, _u: not of floats
	OpI64ExtendU   = 0xad
	OpConvertFirst = 0xb2 // f32.convert_i32_s
	OpConvertLast  = 0xbb // f64.promote_f32
	OpNumericLast  = 0xc4
	OpRefNull      = 0xd0
	OpRefIsNull    = 0xd1
	OpRefFunc      = 0xd2
	OpMisc         = 0xfc
)

// Instructions behind OpMisc.
const (
	MiscTruncLast  = 7 // the saturating conversions come first
	MiscMemoryInit = 8
	MiscDataDrop   = 9
	MiscMemoryCopy = 10
	MiscMemoryFill = 11
	MiscTableInit  = 12
	MiscElemDrop   = 13
	MiscTableCopy  = 14
	MiscTableGrow  = 15
	MiscTableSize  = 16
	MiscTableFill  = 17
)

// Immediates skips what follows an opcode. It is false for OpBlock, OpLoop, OpIf and OpMisc, whose
// immediates are other than numbers, and for opcodes that are not known.
func (c *Cursor) Immediates(op byte) bool {
	switch {
	case op <= OpNop, op == OpElse, op == OpEnd, op == OpReturn, op == OpDrop, op == OpSelect,
		op >= OpNumericFirst && op <= OpNumericLast, op == OpRefIsNull:
	case op == OpBr, op == OpBrIf, op == OpCall, op == OpRefFunc, op >= OpLocalGet && op <= OpTableSet:
		c.U32()
	case op == OpCallIndirect, op >= OpLoadFirst && op <= OpStoreLast:
		c.U32()
		c.U32()
	case op == OpBrTable:
		for n := c.Count("branch targets"); n > 0 && c.Err == nil; n-- {
			c.U32()
		}
		c.U32()
	case op == OpSelectTyped:
		if n := c.Byte(); n != 1 {
			c.Malformed("a select of %d types", n)
		}
		c.ValueType()
	case op == OpMemorySize, op == OpMemoryGrow:
		c.Zero()
	case op == OpRefNull:
		c.ValueType()
	case op == OpI32Const:
		c.Skip(5)
	case op == OpI64Const:
		c.Skip(10)
	case op == OpF32Const:
		c.Bytes(4)
	case op == OpF64Const:
		c.Bytes(8)
	default:
		return false
	}
	return true
}

// Misc skips what follows the number of an instruction behind OpMisc. It is false for numbers that are
// not known, and for table.grow: that takes memory which no limit covers.
func (c *Cursor) Misc(sub uint32) bool {
	switch sub {
	case MiscMemoryInit:
		c.U32()
		c.Zero()
	case MiscMemoryCopy:
		c.Zero()
		c.Zero()
	case MiscMemoryFill:
		c.Zero()
	case MiscTableInit, MiscTableCopy:
		c.U32()
		c.U32()
	case MiscTableFill, MiscDataDrop, MiscElemDrop, MiscTableSize:
		c.U32()
	default:
		return sub <= MiscTruncLast
	}
	return true
}
