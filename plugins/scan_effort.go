package plugins

import "github.com/datanode/datanode/plugins/internal/wasm"

// effort estimates what compiling one function takes, while its instructions go by once. Of the
// compiler it knows what grows faster than the code does:
//
//   - a read of a local goes back through the blocks before it, one by one, until the value was set in
//     one of them, or jumps from several met there; what is found is kept in these alone
//   - where jumps meet, each value that may differ is passed by each of the jumps, and looking for those
//     that do not takes the square of them; before a loop all may differ, and loops within loops multiply
//   - each value that lives on is noted in each block that it lives through
//   - the tree of dominators is climbed from each block and jump
//   - what is known of addresses is copied into each block, globals are loaded again after each call
//
// All are taken as bad as they can be, given the shape of the code; which values are alive is not known,
// so all are that are not set in the block that reads them. The types of values are not looked at.
type effort struct {
	nanos    int
	frames   []frame
	operands []origin
	locals   []local // parameters first
	at       block
	dead     bool // what comes now cannot be reached
	mutable  int  // globals of the module

	last    int // number of the last block
	alive   int // operands, summed over the blocks
	exposed int // locals that are read in another block than they are set in
	sets    int // of locals
	loops   int // so far
	nesting int // of loops, here

	walks   int // that each exposed local takes, where jumps meet
	phis    int // squares of the locals set before jumps meet, times these jumps
	meeting int // jumps that meet others
	headers int // jumps to loops, times their nesting
}

// block is what is known at a place in the code.
type block struct {
	number int
	chain  int // blocks since jumps met
	depth  int // in the tree of dominators, at most
	known  int // addresses known to be in bounds, at most
}

// frame is a block, loop or if that is open.
type frame struct {
	op              byte // 0 for the function
	params, results int
	height          int   // operands below it
	from            block // in which it begins
	dead            bool  // it cannot be reached
	sets, loops     int   // before it

	back  int   // jumps to its beginning
	jumps int   // to its end
	ends  block // of these: the sum of the chains, the least of the others
}

// local is one, or a parameter.
type local struct {
	set     int // number of the block in which it was set
	checked int // number of the block in which its value was used as an address
	exposed bool
}

// origin is the local that an operand was read from, from 1 on.
type origin int32

// begin starts with the next function.
func (e *effort) begin(sig signature, locals, globals int) {
	*e = effort{frames: e.frames[:0], operands: e.operands[:0], locals: e.locals[:0], mutable: e.mutable}
	for range len(sig.params) + locals {
		e.locals = append(e.locals, local{})
	}
	e.frames = append(e.frames, frame{results: len(sig.results)})
	e.nanos = costFunction + costLocal*len(e.locals) + costGlobal*globals
	e.charge()
}

// end is the estimate, when the function is at its end.
func (e *effort) end() int {
	n := e.exposed
	e.nanos += n*e.walks + costLive*(n*e.last+e.alive)
	e.nanos += costPhi*min(e.phis, n*n*e.meeting) + costLoop*n*n*e.headers
	return e.nanos
}

// push puts n operands on the stack, take takes them off, as far as they are there.
func (e *effort) push(n int) {
	for range n {
		e.operands = append(e.operands, 0)
	}
}

func (e *effort) take(n int) {
	height := max(e.frames[len(e.frames)-1].height, len(e.operands)-n)
	e.operands = e.operands[:min(height, len(e.operands))]
}

// start begins a block.
func (e *effort) start() {
	e.last++
	e.at.number = e.last
	e.alive += len(e.operands)
	e.nanos += costBlock + e.at.known*costKnown
}

// follow begins a block that is reached from the last one alone.
func (e *effort) follow() {
	e.at.chain++
	e.at.depth++
	e.start()
}

// charge is what package meter adds at each point where the module is charged.
func (e *effort) charge() {
	e.nanos += 3*costEdge*e.at.depth + 5*costNumeric
	e.follow()
	e.follow()
}

// open begins a block, loop or if.
func (e *effort) open(op byte, params, results int) {
	e.take(params)
	e.frames = append(e.frames, frame{op: op, params: params, results: results, height: len(e.operands), from: e.at,
		dead: e.dead, sets: e.sets, loops: e.loops})
	e.push(params)
	switch {
	case e.dead:
	case op == wasm.OpLoop:
		e.nanos += costValue * params
		e.loop()
		e.charge()
	case op == wasm.OpIf:
		e.nanos += costEdge * e.at.depth
		e.follow()
	}
}

// loop begins a block that is jumped back to.
func (e *effort) loop() {
	e.loops++
	e.nesting++
	e.nanos += costEdge * e.at.depth
	e.walks += costMerge + costStep*e.at.chain
	e.follow()
	e.at.chain = 0
}

// jump goes to the end of the frame that is label frames further out, or to the beginning of a loop.
func (e *effort) jump(label int) {
	f := &e.frames[len(e.frames)-1-label]
	values := f.results
	if f.op == wasm.OpLoop {
		values = f.params
		f.back++
		e.walks += costStep * (e.at.chain + 1)
	} else {
		f.join(e.at)
	}
	e.nanos += costEdge*e.at.depth + costValue*values
}

// through jumps by way of a block of its own, as each target of a branch table does.
func (e *effort) through(label int) {
	at := e.at
	e.follow()
	e.nanos += costBlock
	e.jump(label)
	e.at = at
}

// join has one more jump end a frame.
func (f *frame) join(from block) {
	if f.jumps == 0 {
		f.ends.depth, f.ends.known = from.depth, from.known
	}
	f.jumps++
	f.ends.chain += from.chain + 1
	f.ends.depth, f.ends.known = min(f.ends.depth, from.depth), min(f.ends.known, from.known)
}

// leave is after an instruction that nothing follows.
func (e *effort) leave() {
	e.dead = true
	e.take(len(e.operands))
}

// turn is the else of an if.
func (e *effort) turn() {
	f := &e.frames[len(e.frames)-1]
	if !e.dead {
		e.fall()
	}
	e.take(len(e.operands))
	e.push(f.params)
	e.dead, e.at = f.dead, f.from
	f.op = wasm.OpElse
	if !e.dead {
		e.follow()
	}
}

// fall reaches the end of a frame without a jump.
func (e *effort) fall() {
	f := &e.frames[len(e.frames)-1]
	f.join(e.at)
	e.nanos += costEdge*e.at.depth + costValue*f.results
}

// finish is the end of a frame.
func (e *effort) finish() {
	f := &e.frames[len(e.frames)-1]
	if !e.dead {
		e.fall()
	}
	if f.op == wasm.OpIf && !f.dead { // without an else
		f.join(f.from)
	}
	if f.op == wasm.OpLoop && !f.dead {
		e.headers += (1 + f.back) * e.nesting
		e.nesting--
	}
	e.take(len(e.operands))
	e.frames = e.frames[:len(e.frames)-1]
	e.push(f.results)
	e.dead = f.jumps == 0
	if e.dead || len(e.frames) == 0 {
		return
	}
	e.at = f.ends
	e.at.depth++
	if f.jumps > 1 {
		e.meet(f)
	}
	e.start()
}

// meet is where several jumps end a frame.
func (e *effort) meet(f *frame) {
	e.at.chain = 0
	differ := min(e.sets-f.sets, len(e.locals))
	if e.loops > f.loops { // a value that went through a loop is another one, until it is found to be the same
		differ = len(e.locals)
	}
	e.walks += costMerge + costStep*f.ends.chain
	e.phis += f.jumps * differ * differ
	e.meeting += f.jumps
	e.nanos += f.jumps * f.jumps / 3
}

// get reads a local.
func (e *effort) get(i int) {
	x := &e.locals[i]
	e.nanos += costSimple
	e.operands = append(e.operands, origin(i+1))
	if x.set == e.at.number {
		return
	}
	if !x.exposed {
		x.exposed = true
		e.exposed++
	}
	e.nanos += costStep * e.at.chain
}

// set writes one, and leaves the operand there if it is a tee.
func (e *effort) set(i int, tee bool) {
	e.nanos += costSimple
	e.sets++
	e.locals[i].set, e.locals[i].checked = e.at.number, 0
	e.take(1)
	if tee {
		e.operands = append(e.operands, origin(i+1))
	}
}

// access is a load or store whose address lies under so many operands.
func (e *effort) access(under int) {
	if i := len(e.operands) - 1 - under; i >= 0 && e.operands[i] > 0 {
		x := &e.locals[e.operands[i]-1]
		if x.checked == e.at.number {
			return
		}
		x.checked = e.at.number
	}
	e.nanos += costBounds
	e.at.known++
}

// call is one of a function, of which the operands are known.
func (e *effort) call(s signature, cost int) {
	e.take(len(s.params))
	e.push(len(s.results))
	e.nanos += cost + costValue*(len(s.params)+len(s.results)) + costReload*e.mutable
}

// other is an instruction that does nothing to control flow and calls nothing.
func (e *effort) other(op byte) {
	cost, takes, gives := plain(op)
	e.nanos += cost
	if op >= wasm.OpLoadFirst && op <= wasm.OpStoreLast {
		e.access(takes - 1)
	}
	e.take(takes)
	e.push(gives)
}

// misc is an instruction behind the prefix 0xfc.
func (e *effort) misc(sub uint32) {
	switch {
	case sub <= wasm.MiscTruncLast:
		e.nanos += costTruncate
	case sub == wasm.MiscTableSize:
		e.nanos += costMemorySize
		e.push(1)
	case sub == wasm.MiscDataDrop, sub == wasm.MiscElemDrop:
		e.nanos += costTable
	default:
		e.bulk(3)
		if sub == wasm.MiscMemoryFill || sub == wasm.MiscTableFill { // they are compiled to a loop
			e.loop()
			e.headers += 2 * e.nesting
			e.nesting--
			e.follow()
		}
	}
}

// bulk is an instruction whose work depends on an operand, and which is charged for that.
func (e *effort) bulk(takes int) {
	e.nanos += costBulk
	e.take(takes)
	e.charge()
}
