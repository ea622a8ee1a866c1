package meter

import "fmt"

// Bounds of what can be metered. Each point where a module is charged is a branch for the compiler,
// whose time grows with the square of a function's branches (measured: 1024 points take 0.2 s,
// 8192 take 15). A Go guest of 6 MB has at most 60 in a function, and an effort of 40 thousand.
const (
	maxPoints = 512     // of one function
	maxEffort = 1 << 20 // squares of them, summed over a module
	maxLocals = 49_000  // of a function; some engines take 50,000, and metering adds up to two
)

// point is a place where a function is charged: its entry, the head of a loop, or before an
// instruction whose work depends on an operand.
type point struct {
	at    int   // offset of the instruction before which it is
	cost  int64 // of all that the point pays for; not used when sized
	outer int   // the point that pays for what is around; that of the entry is itself
	loop  int   // of a loop: offset of its opcode
	calls bool  // there is a call in what it pays for, or in a loop within
	sized bool  // the topmost operand tells the cost: n << shift
	shift byte
}

// walker goes through the body of one function.
type walker struct {
	*cursor
	m *module

	start  int // of the body
	groups int // declarations of locals
	decls  int // where they begin
	code   int // where the instructions begin
	locals int // parameters included
	sized  bool

	// points are in the order of their offsets; the first is the entry.
	points []point
	// payers has for each open block the point that pays for its instructions.
	payers []int
}

func (c *cursor) unknown(at int, op uint32) {
	if c.err == nil {
		c.err = &Error{UnknownOpcode, at, op, fmt.Sprintf("opcode %#x has no cost: build for the core "+
			"instructions, without SIMD, threads, tail calls, exceptions and table.grow", op)}
	}
}

// parseCode walks over the functions and writes each anew as soon as it has been walked over.
func (m *module) parseCode(c *cursor) {
	n := c.count("function bodies")
	if c.err == nil && n != len(m.types)-m.importedFuncs {
		c.fail(Malformed, "%d function bodies, but %d functions are declared", n, len(m.types)-m.importedFuncs)
	}
	if c.err != nil {
		return
	}
	m.startCode(n)
	w := walker{m: m}
	for _, typ := range m.types[m.importedFuncs:] {
		w.cursor = c.sub(c.u32())
		w.body(m.params[typ])
		if c.err = w.done("a function"); c.err != nil {
			return
		}
		if m.effort += len(w.points) * len(w.points); m.effort > maxEffort {
			c.fail(TooLarge, "too many functions with hundreds of loops and bulk instructions: split or simplify them")
			return
		}
		m.appendFunction(&w)
	}
}

func (w *walker) body(params int) {
	w.start, w.locals, w.sized = w.off, params, false
	w.points, w.payers = w.points[:0], w.payers[:0]
	w.declarations()
	w.code = w.off
	w.add(point{at: w.off, cost: costEntry + costLocal*int64(w.locals)})
	w.payers = append(w.payers, 0)
	for len(w.payers) > 0 && w.err == nil {
		w.instruction()
	}
}

// declarations reads the locals that follow the parameters.
func (w *walker) declarations() {
	w.groups = w.count("groups of locals")
	w.decls = w.off
	for n := w.groups; n > 0 && w.err == nil; n-- {
		group := w.u32()
		w.valueType()
		if locals := uint64(w.locals) + uint64(group); locals > maxLocals {
			w.fail(TooLarge, "a function with %d locals, the most is %d", locals, maxLocals)
			return
		}
		w.locals += int(group)
	}
}

func (w *walker) add(p point) {
	if len(w.points) == maxPoints {
		w.fail(TooLarge, "a function with more than %d loops and bulk instructions: split it", maxPoints-1)
	}
	w.points = append(w.points, p)
}

// payer is the point that pays for the instruction at hand.
func (w *walker) payer() int { return w.payers[len(w.payers)-1] }

func (w *walker) pay(cost int64) { w.points[w.payer()].cost += cost }

func (w *walker) instruction() {
	at := w.off
	op := w.byte()
	if op != opLoop {
		w.pay(costOf(op))
	}
	switch op {
	case opBlock, opIf:
		w.blockType()
		w.payers = append(w.payers, w.payer())
	case opLoop:
		w.blockType()
		outer := w.payer()
		w.payers = append(w.payers, len(w.points))
		w.add(point{at: w.off, cost: costOf(op), outer: outer, loop: at})
	case opEnd:
		w.payers = w.payers[:len(w.payers)-1]
	case opCall:
		if w.index(len(w.m.types), "function") < w.m.importedFuncs {
			w.pay(costHost)
		}
		w.called()
	case opCallIndirect:
		w.u32()
		w.u32()
		w.called()
	case opMemoryGrow:
		w.zero()
		w.charge(at, shiftPages)
	case opMisc:
		w.misc(at)
	default:
		w.immediates(op)
	}
}

// blockType skips one: empty, a value type, or the index of a function type.
func (w *walker) blockType() {
	switch b := w.peek(); {
	case b == blockEmpty:
		w.byte()
	case b&0xc0 == blockEmpty: // a negative number of one byte
		w.valueType()
	default:
		w.index(len(w.m.params), "type")
	}
}

// called notes that the global changes behind the back of what is being walked over.
func (w *walker) called() {
	for p := &w.points[w.payer()]; !p.calls; p = &w.points[p.outer] {
		p.calls = true
	}
}

// charge has the instruction at an offset pay for its topmost operand.
func (w *walker) charge(at int, shift byte) {
	w.add(point{at: at, outer: w.payer(), sized: true, shift: shift})
	w.sized = true
}

// immediates skips what follows an opcode that instruction does not look at itself.
func (w *walker) immediates(op byte) {
	switch {
	case op <= opNop, op == opElse, op == opReturn, op == opDrop, op == opSelect,
		op >= opNumericFirst && op <= opNumericLast, op == opRefIsNull:
	case op >= opLocalGet && op <= opLocalTee:
		w.index(w.locals, "local")
	case op == opGlobalGet, op == opGlobalSet:
		w.index(w.m.globals, "global")
	case op == opBr, op == opBrIf, op == opTableGet, op == opTableSet, op == opRefFunc:
		w.u32()
	case op == opBrTable:
		for n := w.count("branch targets"); n > 0 && w.err == nil; n-- {
			w.u32()
		}
		w.u32()
	case op == opSelectTyped:
		if n := w.byte(); n != 1 {
			w.fail(Malformed, "a select of %d types", n)
		}
		w.valueType()
	case op >= opLoadFirst && op <= opStoreLast:
		w.u32()
		w.u32()
	case op == opMemorySize:
		w.zero()
	case op == opRefNull:
		w.valueType()
	case op == opI32Const:
		w.leb(5)
	case op == opI64Const:
		w.leb(10)
	case op == opF32Const:
		w.bytes(4)
	case op == opF64Const:
		w.bytes(8)
	default:
		w.unknown(w.off-1, uint32(op))
	}
}

// misc walks over an instruction behind the prefix 0xfc. Growing a table is unknown here: it takes
// memory that no limit covers.
func (w *walker) misc(at int) {
	sub := w.u32()
	w.pay(costOfMisc(sub))
	switch sub {
	case miscMemoryInit:
		w.u32()
		w.zero()
		w.charge(at, shiftBytes)
	case miscMemoryCopy:
		w.zero()
		w.zero()
		w.charge(at, shiftBytes)
	case miscMemoryFill:
		w.zero()
		w.charge(at, shiftBytes)
	case miscTableInit, miscTableCopy:
		w.u32()
		w.u32()
		w.charge(at, shiftElements)
	case miscTableFill:
		w.u32()
		w.charge(at, shiftElements)
	case miscDataDrop, miscElemDrop, miscTableSize:
		w.u32()
	default:
		if sub > miscTruncLast {
			w.unknown(at, opMisc<<8|sub)
		}
	}
}
