package meter

import "fmt"

// Bounds of what can be metered.
const (
	maxLocals = 49_000 // of a function; some engines take 50,000, and metering adds up to two
	// leafMost is what a function may cost to be paid for by who calls it. It is below costIndirect.
	leafMost = 24
)

// function is the body of one function and where it is to be charged.
type function struct {
	start  int  // of the body
	code   part // instructions, with the last end
	groups int  // declarations of locals
	decls  part // their bytes
	locals int  // parameters included
	points []point
	calls  []call
	sized  int  // instructions whose work depends on an operand
	leaf   bool // who calls it pays for it
}

// point is a place where a function is charged.
// Invariant: a function's points are in the order of their offsets; the first is its entry.
type point struct {
	at    int // offset of the instruction before which it is
	cost  int64
	sized bool // an operand tells the cost, which is n << left >> right
	left  byte
	right byte
}

// call is a direct call of a function of this module, paid for at a point.
type call struct{ point, callee int32 }

// notOurs is the callee of a call that leaves the module or goes through a table.
const notOurs = -1

// walker goes through one body.
type walker struct {
	*cursor
	m *module
	f *function
	// regions has for each open block the point that pays for its instructions.
	regions []int32
}

func (c *cursor) unknown(at int, op uint32) {
	if c.err == nil {
		c.err = &Error{UnknownOpcode, at, op, fmt.Sprintf("opcode %#x has no cost: build for the core "+
			"instructions, without SIMD, threads, tail calls, exceptions and table.grow", op)}
	}
}

func (m *module) parseCode(c *cursor) {
	n := c.count("function bodies")
	if c.err == nil && n != len(m.types)-m.importedFuncs {
		c.fail(Malformed, "%d function bodies, but %d functions are declared", n, len(m.types)-m.importedFuncs)
	}
	if c.err != nil {
		return
	}
	m.bodies = make([]function, n)
	for i := range m.bodies {
		body := c.sub(c.u32())
		w := walker{cursor: body, m: m, f: &m.bodies[i]}
		w.f.locals = m.params[m.types[m.importedFuncs+i]]
		w.body()
		w.f.leaf = w.f.isLeaf() && !m.called[m.importedFuncs+i]
		if c.err = body.done("a function"); c.err != nil {
			return
		}
	}
}

func (f *function) isLeaf() bool {
	return len(f.points) == 1 && len(f.calls) == 0 && f.points[0].cost <= leafMost
}

func (w *walker) body() {
	w.f.start = w.off
	w.declarations()
	w.f.code.from = w.off
	w.f.points = append(w.f.points, point{at: w.off, cost: costEntry + int64(w.f.locals)*costLocal})
	w.regions = append(w.regions, 0)
	for len(w.regions) > 0 && w.err == nil {
		w.instruction()
	}
	w.f.code.to = w.off
}

// declarations reads the locals that follow the parameters.
func (w *walker) declarations() {
	w.f.groups = w.count("groups of locals")
	w.f.decls.from = w.off
	for n := w.f.groups; n > 0 && w.err == nil; n-- {
		group := w.u32()
		w.byte() // type
		if uint64(w.f.locals)+uint64(group) > maxLocals {
			w.fail(TooLarge, "a function with %d locals, the most is %d", uint64(w.f.locals)+uint64(group), maxLocals)
			return
		}
		w.f.locals += int(group)
	}
	w.f.decls.to = w.off
}

// pay adds to what is paid for at the point that is in force.
func (w *walker) pay(cost int64) {
	if n := len(w.regions); n > 0 {
		w.f.points[w.regions[n-1]].cost += cost
	}
}

func (w *walker) open(region int32) { w.regions = append(w.regions, region) }

func (w *walker) instruction() {
	at := w.off
	switch op := w.byte(); op {
	case opBlock, opIf:
		w.pay(costOf(op))
		w.leb(5)
		w.open(w.regions[len(w.regions)-1])
	case opLoop:
		w.leb(5)
		w.open(int32(len(w.f.points)))
		w.f.points = append(w.f.points, point{at: w.off, cost: costOf(op)})
	case opEnd:
		w.pay(costOf(op))
		w.regions = w.regions[:len(w.regions)-1]
	case opCall:
		w.call()
	case opCallIndirect:
		w.u32()
		w.u32()
		w.pay(costIndirect)
		w.f.calls = append(w.f.calls, call{w.regions[len(w.regions)-1], notOurs})
	case opMemoryGrow:
		w.byte()
		w.pay(costOf(op))
		w.sized(at, memoryGrowLeft, 0)
	case opMisc:
		w.misc(at)
	default:
		w.pay(costOf(op))
		w.immediates(op)
	}
}

func (w *walker) call() {
	callee := w.index(len(w.m.types), "function")
	if callee < w.m.importedFuncs {
		w.pay(costCallHost)
		callee = notOurs
	} else {
		w.pay(costCall)
		callee -= w.m.importedFuncs
	}
	w.f.calls = append(w.f.calls, call{w.regions[len(w.regions)-1], int32(callee)})
}

func (w *walker) sized(at int, left, right byte) {
	w.f.sized++
	w.f.points = append(w.f.points, point{at: at, sized: true, left: left, right: right})
}

// immediates skips what follows an opcode that instruction does not look at itself.
func (w *walker) immediates(op byte) {
	switch {
	case op <= opNop, op == opElse, op == opReturn, op == opDrop, op == opSelect,
		op >= opNumericFirst && op <= opNumericLast, op == opRefIsNull:
	case op >= opLocalGet && op <= opLocalTee:
		w.index(w.f.locals, "local")
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
		w.bytes(w.count("types of a select"))
	case op >= opLoadFirst && op <= opStoreLast:
		w.u32()
		w.u32()
	case op == opMemorySize, op == opRefNull:
		w.byte()
	case op == opI32Const, op == opI64Const:
		w.leb(10)
	case op == opF32Const:
		w.bytes(4)
	case op == opF64Const:
		w.bytes(8)
	default:
		w.unknown(w.off-1, uint32(op))
	}
}

// misc walks over an instruction behind the prefix 0xfc. Growing a table has no cost here: it takes
// memory that no limit covers.
func (w *walker) misc(at int) {
	sub := w.u32()
	switch sub {
	case miscMemoryInit:
		w.u32()
		w.byte()
		w.sized(at, 0, bulkBytesRight)
	case miscMemoryCopy:
		w.bytes(2)
		w.sized(at, 0, bulkBytesRight)
	case miscMemoryFill:
		w.byte()
		w.sized(at, 0, bulkBytesRight)
	case miscTableInit, miscTableCopy:
		w.u32()
		w.u32()
		w.sized(at, bulkElementLeft, 0)
	case miscTableFill:
		w.u32()
		w.sized(at, bulkElementLeft, 0)
	case miscDataDrop, miscElemDrop, miscTableSize:
		w.u32()
	default:
		if sub > miscTruncLast {
			w.unknown(at, opMisc<<8|sub)
		}
	}
	w.pay(costOfMisc(sub))
}
