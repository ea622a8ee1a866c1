package meter

// Costs, in units of about what an addition takes. They are part of Version: whoever changes one
// changes that too, and every budget means something else from then on. They are chosen so that no
// kind of work takes much more than a nanosecond for each unit (BenchmarkUnit: 0.02 to 1, and up to 4
// for loads that miss every cache), so that a budget of so many units bounds a call to about as many
// nanoseconds. Honest code takes 0.01 to 0.1, since it is charged for what it jumps over too.
const (
	costPlain = 1 // whatever is not named here
	costEntry = 2 // of a function
	costLocal = 1 // of each parameter and local, which are set on entry

	costMultiply   = 2  // of integers
	costDivide     = 16 // of integers, with remainder
	costFloat      = 2  // arithmetic, comparisons and conversions that an engine does in one step
	costFloatSlow  = 12 // division and square roots
	costMemory     = 2  // a load or a store
	costBranch     = 2  // br_if and br_table
	costCall       = 8
	costIndirect   = 16 // a call through a table
	costHost       = 56 // a call of an imported function, more than of another
	costBulk       = 32 // a bulk operation, however little it is told to do
	costMemoryGrow = 256
)

// What instructions with an operand n cost beyond that: n << shift.
const (
	shiftBytes    = 0  // memory.fill, .copy and .init: a unit for each byte
	shiftElements = 3  // table.fill, .copy and .init: a unit for each byte of an element
	shiftPages    = 16 // memory.grow: a unit for each byte, which is cleared
)

// Instructions that are told apart, by their opcodes (core specification 2.0, §5.4).
const (
	opUnreachable  = 0x00
	opNop          = 0x01
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opDrop         = 0x1a
	opSelect       = 0x1b
	opSelectTyped  = 0x1c
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opTableGet     = 0x25
	opTableSet     = 0x26
	opLoadFirst    = 0x28
	opStoreLast    = 0x3e
	opMemorySize   = 0x3f
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opNumericFirst = 0x45 // the numeric instructions have no immediates
	opI64LtS       = 0x53
	opFloatCmp     = 0x5b // f32.eq to
	opFloatCmpLast = 0x66 // f64.ge
	opI32Mul       = 0x6c
	opI32DivS      = 0x6d // and three more
	opI32RemU      = 0x70
	opI64Sub       = 0x7d
	opI64Mul       = 0x7e
	opI64DivS      = 0x7f // and three more
	opI64RemU      = 0x82
	opI64Shl       = 0x86
	opI64ShrU      = 0x88
	opFloatFirst   = 0x8b // f32.abs
	opF32Sqrt      = 0x91
	opF32Div       = 0x95
	opF64Sqrt      = 0x9f
	opF64Div       = 0xa3
	opFloatLast    = 0xa6 // f64.copysign
	opTruncFirst   = 0xa8 // i32.trunc_f32_s and the other conversions to integers
	opI64ExtendS   = 0xac // i64.extend_i32_s, _u: not of floats
	opI64ExtendU   = 0xad
	opConvertLast  = 0xbb // f64.promote_f32
	opNumericLast  = 0xc4
	opRefNull      = 0xd0
	opRefIsNull    = 0xd1
	opRefFunc      = 0xd2
	opMisc         = 0xfc
)

// Instructions behind opMisc.
const (
	miscTruncLast  = 7 // the saturating conversions come first
	miscMemoryInit = 8
	miscDataDrop   = 9
	miscMemoryCopy = 10
	miscMemoryFill = 11
	miscTableInit  = 12
	miscElemDrop   = 13
	miscTableCopy  = 14
	miscTableGrow  = 15
	miscTableSize  = 16
	miscTableFill  = 17
)

// costOf is the fixed cost of an instruction without a prefix.
func costOf(op byte) int64 {
	switch {
	case op == opCall:
		return costCall
	case op == opCallIndirect:
		return costIndirect
	case op == opMisc:
		return 0 // see costOfMisc
	case op == opBrIf, op == opBrTable:
		return costBranch
	case op >= opLoadFirst && op <= opStoreLast:
		return costMemory
	case op == opMemoryGrow:
		return costMemoryGrow
	case op == opI32Mul, op == opI64Mul:
		return costMultiply
	case op >= opI32DivS && op <= opI32RemU, op >= opI64DivS && op <= opI64RemU:
		return costDivide
	case op == opF32Sqrt, op == opF32Div, op == opF64Sqrt, op == opF64Div:
		return costFloatSlow
	case op == opI64ExtendS, op == opI64ExtendU:
		return costPlain
	case op >= opFloatCmp && op <= opFloatCmpLast, op >= opFloatFirst && op <= opFloatLast,
		op >= opTruncFirst && op <= opConvertLast:
		return costFloat
	}
	return costPlain
}

// costOfMisc is the fixed cost of an instruction behind opMisc.
func costOfMisc(sub uint32) int64 {
	switch {
	case sub <= miscTruncLast:
		return costFloat
	case sub == miscTableSize:
		return costPlain
	}
	return costBulk
}
