package meter

import "github.com/datanode/datanode/plugins/internal/wasm"

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

// parseCode walks over the functions and writes each anew as soon as it has been walked over.
func (m *module) parseCode(c *cursor) {
	n := c.Count("function bodies")
	if c.Err == nil && n != len(m.types)-m.importedFuncs {
		c.Malformed("%d function bodies, but %d functions are declared", n, len(m.types)-m.importedFuncs)
	}
	if c.Err != nil {
		return
	}
	m.startCode(n)
	w := walker{m: m}
	for _, typ := range m.types[m.importedFuncs:] {
		w.cursor = c.sub(c.U32())
		w.body(m.params[typ])
		if c.Err = w.done("a function"); c.Err != nil {
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
	w.start, w.locals, w.sized = w.Off, params, false
	w.points, w.payers = w.points[:0], w.payers[:0]
	w.declarations()
	w.code = w.Off
	w.add(point{at: w.Off, cost: costEntry + costLocal*int64(w.locals)})
	w.payers = append(w.payers, 0)
	for len(w.payers) > 0 && w.Err == nil {
		w.instruction()
	}
}

// declarations reads the locals that follow the parameters.
func (w *walker) declarations() {
	w.groups = w.Count("groups of locals")
	w.decls = w.Off
	for n := w.groups; n > 0 && w.Err == nil; n-- {
		group := w.U32()
		w.ValueType()
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
	at := w.Off
	op := w.Byte()
	if op != wasm.OpLoop {
		w.pay(costOf(op))
	}
	switch op {
	case wasm.OpBlock, wasm.OpIf:
		w.BlockType(len(w.m.params))
		w.payers = append(w.payers, w.payer())
	case wasm.OpLoop:
		w.BlockType(len(w.m.params))
		outer := w.payer()
		w.payers = append(w.payers, len(w.points))
		w.add(point{at: w.Off, cost: costOf(op), outer: outer, loop: at})
	case wasm.OpEnd:
		w.payers = w.payers[:len(w.payers)-1]
	case wasm.OpCall:
		if w.Index(len(w.m.types), "function") < w.m.importedFuncs {
			w.pay(costHost)
		}
		w.called()
	case wasm.OpCallIndirect:
		w.U32()
		w.U32()
		w.called()
	case wasm.OpMemoryGrow:
		w.Zero()
		w.charge(at, shiftPages)
	case wasm.OpMisc:
		w.misc(at)
	default:
		w.immediates(op)
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

// immediates skips what follows an opcode that instruction does not look at itself. Indices of what is
// added to a module are checked here.
func (w *walker) immediates(op byte) {
	switch op {
	case wasm.OpLocalGet, wasm.OpLocalSet, wasm.OpLocalTee:
		w.Index(w.locals, "local")
	case wasm.OpGlobalGet, wasm.OpGlobalSet:
		w.Index(w.m.globals, "global")
	default:
		if !w.Immediates(op) {
			w.unknown(w.Off-1, uint32(op))
		}
	}
}

// misc walks over an instruction behind the prefix 0xfc.
func (w *walker) misc(at int) {
	sub := w.U32()
	w.pay(costOfMisc(sub))
	if !w.Misc(sub) {
		w.unknown(at, wasm.OpMisc<<8|sub)
	}
	switch sub {
	case wasm.MiscMemoryInit, wasm.MiscMemoryCopy, wasm.MiscMemoryFill:
		w.charge(at, shiftBytes)
	case wasm.MiscTableInit, wasm.MiscTableCopy, wasm.MiscTableFill:
		w.charge(at, shiftElements)
	}
}
