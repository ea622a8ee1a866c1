package plugins

import "github.com/datanode/datanode/plugins/internal/wasm"

// codeSection walks over the bodies of all functions. The compiler's time grows with the square of a
// function's branches (measured: 16000 take 7 s), so these are bounded, and so is their sum.
func (l *layout) codeSection(c *cursor) {
	declared := len(l.functions) - l.imported
	n := c.count(maxFunctions, "function bodies")
	if c.Err == nil && n != declared {
		c.Malformed("%d function bodies, but %d functions are declared", n, declared)
	}
	for ; n > 0 && c.Err == nil; n-- {
		size := c.U32()
		if size > maxFunctionBytes {
			c.refuse(TooComplex, "a function of %d bytes, the most is %d", size, maxFunctionBytes)
			return
		}
		body := c.sub(size)
		if c.Err == nil {
			l.function(body)
			c.Err = body.Err
		}
	}
}

func (l *layout) function(c *cursor) {
	locals := l.declareLocals(c)
	depth, branches := 1, 0
	for depth > 0 && c.Err == nil {
		switch op := c.Byte(); op {
		case wasm.OpBlock, wasm.OpLoop, wasm.OpIf:
			l.arity += l.blockArity(c)
			depth, branches = depth+1, branches+1
		case wasm.OpEnd:
			depth--
		case wasm.OpBr, wasm.OpBrIf:
			c.U32()
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
	if c.Err == nil && c.Left() > 0 {
		c.Malformed("%d bytes after the end of a function", c.Left())
	}
}

func (l *layout) declareLocals(c *cursor) int {
	locals := 0
	for n := c.count(maxLocals, "groups of locals"); n > 0 && c.Err == nil; n-- {
		group := c.U32()
		c.Byte() // type
		if c.Err == nil && uint64(locals)+uint64(group) > maxLocals {
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

// blockArity is how many values a block takes and gives.
func (l *layout) blockArity(c *cursor) int {
	i, values := c.BlockType(len(l.types))
	if i < 0 || c.Err != nil {
		return values
	}
	return len(l.types[i].params) + len(l.types[i].results)
}

// immediates skips what follows an opcode that function does not look at itself.
func (c *cursor) immediates(op byte) {
	switch {
	case op == wasm.OpMisc:
		c.misc()
	case op == wasm.OpBrTable:
		for n := c.count(maxTargets, "branch targets"); n > 0 && c.Err == nil; n-- {
			c.U32()
		}
		c.U32()
	case !c.Immediates(op):
		c.refuse(ForbiddenInstruction, "opcode %#x: build for the core instructions, without SIMD, threads, "+
			"tail calls or exceptions", op)
	}
}

// misc skips the immediates of the instructions behind prefix 0xfc: saturating conversions and bulk
// operations. Growing a table is the one way to take memory that no limit covers, so it is refused.
func (c *cursor) misc() {
	switch sub := c.U32(); {
	case c.Misc(sub):
	case sub == wasm.MiscTableGrow:
		c.refuse(ForbiddenInstruction, "table.grow: a policy's tables have a fixed size")
	default:
		c.refuse(ForbiddenInstruction, "opcode 0xfc %d is not known", sub)
	}
}

// constant skips a constant expression.
func (c *cursor) constant() {
	for c.Err == nil {
		switch op := c.Byte(); op {
		case wasm.OpEnd:
			return
		case wasm.OpI32Const, wasm.OpI64Const, wasm.OpF32Const, wasm.OpF64Const, wasm.OpGlobalGet, wasm.OpRefNull, wasm.OpRefFunc:
			c.Immediates(op)
		default:
			c.Malformed("opcode %#x in a constant", op)
		}
	}
}
