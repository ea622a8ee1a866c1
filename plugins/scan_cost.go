package plugins

import "github.com/datanode/datanode/plugins/internal/wasm"

// Bounds of what compiling may take, as effort estimates it: in nanoseconds of a processor of 2024, and
// the same on every machine. Without them a module of 4 KiB can take the compiler a minute. The estimate
// is 0.5 to 2.5 times what was measured, for honest modules and for those that were made to blow up; it
// is more for code that the compiler leaves away. Honest modules, with what they may take:
//
//	                                 estimate      of its largest    ns a byte of code
//	                                                    function     that can be reached
//	policies in C, Rust, AS, WAT     2 to 4 ms             1..2 ms     1300..1900
//	Go guests of 1.9 to 6.4 MB       1.9 to 6.5 s        20..75 ms     1700
//	SQLite in C, 1.0 MB              1.4 s                   75 ms     1650
//	a C interpreter of 400 cases     0.1 to 0.2 s       120..180 ms     900..1100
//	bounds                           10 s                   300 ms     3000, and 100 ms for any
//
// A bound on locals times branches, and one on the squares of branches, were here before: they let pass
// what has many values on the stack, targets, loops within loops, reads far from where a local is set,
// calls beside many globals, and refused long functions that are simple.
const (
	milli = 1_000_000

	maxFunctionEffort = 300 * milli
	maxEffort         = 10_000 * milli // of a module; a Go guest of maxModuleBytes comes to 8.5 s
	baseEffort        = 100 * milli    // that any module may take,
	effortPerByte     = 3000           // and for each byte of instructions that can be reached
)

// Costs of what grows with the length of a function: of an instruction, in the compiler and in the
// interpreter. They were measured by the thousand in one function, with results that are used; what a
// compiler can leave away, or do once for all, costs less.
const (
	costDead       = 60     // that cannot be reached
	costSimple     = 500    // a constant, a local
	costNumeric    = 1500   // arithmetic, comparisons, globals
	costDivide     = 8000   // of integers: checks for 0 and overflow
	costFloat      = 4000   // conversions, rounding, minima
	costTruncate   = 12_000 // of a float to an integer: checks for what does not fit
	costAccess     = 2500   // a load or store at an address that was used before,
	costBounds     = 10_000 // and beyond that if it is a new one, which is checked
	costMemorySize = 4000
	costTable      = 10_000
	costBulk       = 100_000 // filling, copying and growing
	costCall       = 2500
	costIndirect   = 35_000
	costValue      = 1000 // each value that is passed to a call or to a block
	costReload     = 270  // each mutable global, after each call
	costFunction   = 4000
	costLocal      = 100 // each, declared in a function
	costGlobal     = 9   // each of a module, in each function
	costBlock      = 4000
)

// Costs of what grows faster than that.
const (
	// costEdge is for each jump and block, times how deep it is in the tree of dominators: the compiler
	// climbs that several times. A row of 8000 ifs takes 1.1 s.
	costEdge = 15
	// costStep is for each read of a local, times the blocks that have to be gone back through for its
	// value: 50,000 reads behind 2000 jumps take 0.6 s. Where jumps meet, that is so for all at once.
	costStep  = 10
	costMerge = 280
	// costKnown is for each address that is known to be in bounds, in each block: it is copied. 8000
	// loads before 2000 jumps take 0.9 s and 400 MiB.
	costKnown = 60
	// costLive is for each value that lives on, in each block: 1000 values through 2000 ifs take 1 s.
	costLive = 110
	// costPhi is for the square of the values that may differ where jumps meet, times the jumps;
	// costLoop the same for loops, where all do, times how deep they nest. 200 loops with as many
	// locals, in 3 KB, take 3.4 s; twice as many take a minute.
	costPhi  = 2
	costLoop = 3
)

// plain is the cost of an instruction that does nothing to control flow, and how many operands it takes
// and gives.
func plain(op byte) (cost, takes, gives int) {
	switch {
	case op == wasm.OpNop:
		return costSimple, 0, 0
	case op == wasm.OpDrop:
		return costSimple, 1, 0
	case op == wasm.OpSelect, op == wasm.OpSelectTyped:
		return costNumeric, 3, 1
	case op == wasm.OpGlobalGet:
		return costNumeric, 0, 1
	case op == wasm.OpGlobalSet:
		return costNumeric, 1, 0
	case op == wasm.OpTableGet:
		return costTable, 1, 1
	case op == wasm.OpTableSet:
		return costTable, 2, 0
	case op == wasm.OpMemorySize:
		return costMemorySize, 0, 1
	case op >= wasm.OpI32Const && op <= wasm.OpF64Const, op == wasm.OpRefNull:
		return costSimple, 0, 1
	case op == wasm.OpRefFunc:
		return costTable, 0, 1
	case op == wasm.OpRefIsNull:
		return costNumeric, 1, 1
	case op >= wasm.OpLoadFirst && op < wasm.OpStoreFirst:
		return costAccess, 1, 1
	case op >= wasm.OpStoreFirst && op <= wasm.OpStoreLast:
		return costAccess, 2, 0
	}
	if unary(op) {
		return numeric(op), 1, 1
	}
	return numeric(op), 2, 1
}

// unary reports whether a numeric instruction has one operand: the others have two.
func unary(op byte) bool {
	switch {
	case op == wasm.OpI32Eqz, op == wasm.OpI64Eqz,
		op >= wasm.OpI32Clz && op <= wasm.OpI32Popcnt, op >= wasm.OpI64Clz && op <= wasm.OpI64Popcnt,
		op >= wasm.OpFloatFirst && op <= wasm.OpF32Sqrt, op >= wasm.OpF64Abs && op <= wasm.OpF64Sqrt,
		op >= wasm.OpI32Wrap:
		return true
	}
	return false
}

// numeric is the cost of a numeric instruction.
func numeric(op byte) int {
	switch {
	case op >= wasm.OpI32DivS && op <= wasm.OpI32RemU, op >= wasm.OpI64DivS && op <= wasm.OpI64RemU:
		return costDivide
	case op == wasm.OpI64ExtendS, op == wasm.OpI64ExtendU:
		return costNumeric
	case op >= wasm.OpTruncFirst && op < wasm.OpConvertFirst:
		return costTruncate
	case op >= wasm.OpFloatFirst && op <= wasm.OpFloatLast, op >= wasm.OpConvertFirst && op <= wasm.OpConvertLast:
		return costFloat
	}
	return costNumeric
}
