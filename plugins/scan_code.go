package plugins

// codeSection walks over the bodies of all functions. The compiler's time grows with the square of a
// function's branches (measured: 16000 take 7 s), so these are bounded, and so is their sum.
func (l *layout) codeSection(c *cursor) {
	declared := len(l.functions) - l.imported
	n := c.count(maxFunctions, "function bodies")
	if c.err == nil && n != declared {
		c.malformed("%d function bodies, but %d functions are declared", n, declared)
	}
	for ; n > 0 && c.err == nil; n-- {
		size := c.u32()
		if size > maxFunctionBytes {
			c.refuse(TooComplex, "a function of %d bytes, the most is %d", size, maxFunctionBytes)
			return
		}
		body := c.sub(size)
		if c.err == nil {
			l.function(body)
			c.err = body.err
		}
	}
}

func (l *layout) function(c *cursor) {
	locals := l.declareLocals(c)
	depth, branches := 1, 0
	for depth > 0 && c.err == nil {
		switch op := c.byte(); op {
		case opBlock, opLoop, opIf:
			l.arity += l.blockArity(c)
			depth, branches = depth+1, branches+1
		case opEnd:
			depth--
		case opBr, opBrIf:
			c.u32()
			branches++
		default:
			c.immediates(op)
		}
		switch {
		case branches > maxBranches:
			c.refuse(TooComplex, "more than %d blocks and jumps in one function: split it", maxBranches)
		case depth > maxNesting:
			c.refuse(NestedTooDeep, "blocks nested deeper than %d: split the function", maxNesting)
		case l.arity > maxBlockArity:
			c.refuse(TooComplex, "blocks pass more than %d values: use locals instead", maxBlockArity)
		case locals*branches > maxLive:
			c.refuse(TooComplex, "%d locals and %d blocks and jumps in one function: split it", locals, branches)
		}
	}
	if l.effort += branches * branches; l.effort > maxEffort {
		c.refuse(TooComplex, "too many functions with thousands of blocks and jumps: split or simplify them")
	}
	if l.live += locals * branches; l.live > maxLiveModule {
		c.refuse(TooComplex, "too many functions with hundreds of locals and of blocks and jumps: split or simplify them")
	}
	if c.err == nil && c.left() > 0 {
		c.malformed("%d bytes after the end of a function", c.left())
	}
}

func (l *layout) declareLocals(c *cursor) int {
	locals := 0
	for n := c.count(maxLocals, "groups of locals"); n > 0 && c.err == nil; n-- {
		group := c.u32()
		c.byte() // type
		if c.err == nil && uint64(locals)+uint64(group) > maxLocals {
			c.refuse(TooManyLocals, "a function with %d locals, the most is %d", uint64(locals)+uint64(group), maxLocals)
			return 0
		}
		locals += int(group)
	}
	if l.locals += locals; l.locals > maxLocalsModule {
		c.refuse(TooManyLocals, "%d locals in all functions, the most is %d", l.locals, maxLocalsModule)
	}
	return locals
}

// blockArity reads a block type: empty, one value type, or the index of a function type.
func (l *layout) blockArity(c *cursor) int {
	if c.left() > 0 && c.buf[c.off]&0xc0 == 0x40 { // a negative number of one byte
		if c.byte() == blockEmpty {
			return 0
		}
		return 1
	}
	i := c.s33()
	if c.err != nil {
		return 0
	}
	if i < 0 || i >= int64(len(l.types)) {
		c.malformed("block type %d of %d", i, len(l.types))
		return 0
	}
	return len(l.types[i].params) + len(l.types[i].results)
}

// Instructions that the scan tells apart, by their opcodes (core specification 2.0, §5.4).
const (
	blockEmpty = 0x40

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
	opTableSet     = 0x26
	opLoad         = 0x28 // the first load
	opStore        = 0x3e // the last store
	opMemorySize   = 0x3f
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opNumeric      = 0x45 // the first and
	opNumericLast  = 0xc4 // the last without immediates
	opRefNull      = 0xd0
	opRefIsNull    = 0xd1
	opRefFunc      = 0xd2
	opMisc         = 0xfc
	opGlobalGet    = 0x23
)

// immediates skips what follows an opcode that function does not look at itself.
func (c *cursor) immediates(op byte) {
	switch {
	case op <= 0x01, op == opElse, op == opReturn, op == opDrop, op == opSelect,
		op >= opNumeric && op <= opNumericLast, op == opRefIsNull:
	case op == opCall, op == opRefFunc, op >= opLocalGet && op <= opTableSet:
		c.u32()
	case op == opBrTable:
		for n := c.count(maxTargets, "branch targets"); n > 0 && c.err == nil; n-- {
			c.u32()
		}
		c.u32()
	case op == opCallIndirect:
		c.u32()
		c.u32()
	case op == opSelectTyped:
		c.bytes(c.count(1, "types of a select"))
	case op >= opLoad && op <= opStore:
		c.u32()
		c.u32()
	case op == opMemorySize, op == opMemoryGrow, op == opRefNull:
		c.byte()
	case op == opI32Const, op == opI64Const:
		c.leb(10)
	case op == opF32Const:
		c.bytes(4)
	case op == opF64Const:
		c.bytes(8)
	case op == opMisc:
		c.misc()
	default:
		c.refuse(ForbiddenInstruction, "opcode %#x: build for the core instructions, without SIMD, threads, "+
			"tail calls or exceptions", op)
	}
}

// misc skips the immediates of the instructions behind prefix 0xfc: saturating conversions and bulk
// operations. Growing a table is the one way to take memory that no limit covers, so it is refused.
func (c *cursor) misc() {
	switch op := c.u32(); {
	case op <= 7: // saturating conversions
	case op == 8: // memory.init
		c.u32()
		c.byte()
	case op == 9, op == 13, op == 16, op == 17: // data.drop, elem.drop, table.size, table.fill
		c.u32()
	case op == 10: // memory.copy
		c.bytes(2)
	case op == 11: // memory.fill
		c.byte()
	case op == 12, op == 14: // table.init, table.copy
		c.u32()
		c.u32()
	case op == 15:
		c.refuse(ForbiddenInstruction, "table.grow: a policy's tables have a fixed size")
	default:
		c.refuse(ForbiddenInstruction, "opcode 0xfc %d is not known", op)
	}
}

// constant skips a constant expression.
func (c *cursor) constant() {
	for c.err == nil {
		switch op := c.byte(); op {
		case opEnd:
			return
		case opI32Const, opI64Const, opF32Const, opF64Const, opGlobalGet, opRefNull, opRefFunc:
			c.immediates(op)
		default:
			c.malformed("opcode %#x in a constant", op)
		}
	}
}
