package meter

import "github.com/datanode/datanode/plugins/internal/wasm"

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

// costOf is the fixed cost of an instruction without a prefix.
func costOf(op byte) int64 {
	switch {
	case op == wasm.OpCall:
		return costCall
	case op == wasm.OpCallIndirect:
		return costIndirect
	case op == wasm.OpMisc:
		return 0 // see costOfMisc
	case op == wasm.OpBrIf, op == wasm.OpBrTable:
		return costBranch
	case op >= wasm.OpLoadFirst && op <= wasm.OpStoreLast:
		return costMemory
	case op == wasm.OpMemoryGrow:
		return costMemoryGrow
	case op == wasm.OpI32Mul, op == wasm.OpI64Mul:
		return costMultiply
	case op >= wasm.OpI32DivS && op <= wasm.OpI32RemU, op >= wasm.OpI64DivS && op <= wasm.OpI64RemU:
		return costDivide
	case op == wasm.OpF32Sqrt, op == wasm.OpF32Div, op == wasm.OpF64Sqrt, op == wasm.OpF64Div:
		return costFloatSlow
	case op == wasm.OpI64ExtendS, op == wasm.OpI64ExtendU:
		return costPlain
	case op >= wasm.OpFloatCmp && op <= wasm.OpFloatCmpLast, op >= wasm.OpFloatFirst && op <= wasm.OpFloatLast,
		op >= wasm.OpTruncFirst && op <= wasm.OpConvertLast:
		return costFloat
	}
	return costPlain
}

// costOfMisc is the fixed cost of an instruction behind wasm.OpMisc.
func costOfMisc(sub uint32) int64 {
	switch {
	case sub <= wasm.MiscTruncLast:
		return costFloat
	case sub == wasm.MiscTableSize:
		return costPlain
	}
	return costBulk
}
