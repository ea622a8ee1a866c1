package plugins

import "github.com/datanode/datanode/plugins/internal/wasm"

// codeSection walks over the bodies of all functions, and refuses what would take the compiler long.
func (l *layout) codeSection(c *cursor) {
	declared := l.functions[l.imported:]
	n := c.count(maxFunctions, "function bodies")
	if c.Err == nil && n != len(declared) {
		c.Malformed("%d function bodies, but %d functions are declared", n, len(declared))
	}
	if c.Err != nil {
		return
	}
	e := &effort{mutable: l.mutable + 1} // the meter's is one too
	for i, typ := range declared {
		size := c.U32()
		if size > maxFunctionBytes {
			c.refuse(TooComplex, "a function of %d bytes, the most is %d", size, maxFunctionBytes)
			return
		}
		body := c.sub(size)
		if body.Err == nil {
			l.function(body, e, l.types[typ])
		}
		if c.Err = body.Err; c.Err != nil {
			return
		}
		l.bound(c, i, e.end())
	}
}

// bound adds what compiling a function takes to that of the module, and refuses what is too much.
func (l *layout) bound(c *cursor, i, nanos int) {
	l.effort += nanos
	most := min(maxEffort, baseEffort+effortPerByte*l.live)
	switch {
	case nanos > maxFunctionEffort:
		c.refuse(TooComplex,
			"compiling function %d would take about %d ms, the most is %d: split it, or use fewer branches, "+
				"locals and values at once", i, nanos/milli, maxFunctionEffort/milli)
	case l.effort > most:
		c.refuse(TooComplex,
			"compiling it to the end of function %d would take about %d ms, the most for %d bytes of code is %d: "+
				"split or simplify its functions", i, l.effort/milli, l.live, most/milli)
	}
}

func (l *layout) function(c *cursor, e *effort, sig signature) {
	e.begin(sig, l.declareLocals(c), l.globals)
	for len(e.frames) > 0 && c.Err == nil {
		if len(e.frames) > maxNesting {
			c.refuse(NestedTooDeep, "blocks nested deeper than %d: split the function", maxNesting)
		}
		from := c.Off
		if l.instruction(c, e, c.Byte()); !e.dead {
			l.live += c.Off - from
		}
	}
	if c.Err == nil && c.Left() > 0 {
		c.Malformed("%d bytes after the end of a function", c.Left())
	}
}

func (l *layout) declareLocals(c *cursor) int {
	locals := 0
	for n := c.count(maxLocals, "groups of locals"); n > 0 && c.Err == nil; n-- {
		group := c.U32()
		c.ValueType()
		if c.Err == nil && uint64(locals)+uint64(group) > maxLocals {
			c.refuse(TooManyLocals, "a function with %d locals, the most is %d", uint64(locals)+uint64(group), maxLocals)
			return 0
		}
		locals += int(group)
	}
	return locals
}

// instruction is the effort of one.
func (l *layout) instruction(c *cursor, e *effort, op byte) {
	switch op {
	case wasm.OpBlock, wasm.OpLoop, wasm.OpIf:
		params, results := l.blockArity(c)
		if op == wasm.OpIf {
			e.take(1)
		}
		e.open(op, params, results)
	case wasm.OpElse:
		e.turn()
	case wasm.OpEnd:
		e.finish()
	default:
		if e.dead {
			e.nanos += costDead
			c.immediates(op)
			return
		}
		l.reached(c, e, op)
	}
}

// reached is the effort of an instruction that can be reached.
func (l *layout) reached(c *cursor, e *effort, op byte) {
	switch op {
	case wasm.OpBr:
		e.jump(c.Index(len(e.frames), "label"))
		e.leave()
	case wasm.OpBrIf:
		e.take(1)
		e.jump(c.Index(len(e.frames), "label"))
		e.follow()
	case wasm.OpBrTable:
		e.take(1)
		for n := c.Count("branch targets"); n >= 0 && c.Err == nil; n-- { // and one that is the default
			e.through(c.Index(len(e.frames), "label"))
		}
		e.leave()
	case wasm.OpReturn, wasm.OpUnreachable:
		e.leave()
	case wasm.OpCall:
		if i := c.Index(len(l.functions), "function"); c.Err == nil {
			e.call(l.types[l.functions[i]], costCall)
		}
	case wasm.OpCallIndirect:
		e.take(1)
		if i := c.Index(len(l.types), "type"); c.Err == nil {
			e.call(l.types[i], costIndirect)
		}
		c.U32() // table
	case wasm.OpLocalGet, wasm.OpLocalSet, wasm.OpLocalTee:
		l.local(c, e, op)
	case wasm.OpMemoryGrow:
		c.Zero()
		e.bulk(1)
		e.push(1)
	case wasm.OpMisc:
		e.misc(c.misc())
	default:
		e.other(op)
		c.immediates(op)
	}
}

func (l *layout) local(c *cursor, e *effort, op byte) {
	i := c.Index(len(e.locals), "local")
	switch {
	case c.Err != nil:
	case op == wasm.OpLocalGet:
		e.get(i)
	default:
		e.set(i, op == wasm.OpLocalTee)
	}
}

// blockArity is how many values a block takes and gives.
func (l *layout) blockArity(c *cursor) (params, results int) {
	i, values := c.BlockType(len(l.types))
	if i < 0 || c.Err != nil {
		return 0, values
	}
	return len(l.types[i].params), len(l.types[i].results)
}

// immediates skips what follows an opcode.
func (c *cursor) immediates(op byte) {
	switch {
	case op == wasm.OpMisc:
		c.misc()
	case !c.Immediates(op):
		c.refuse(ForbiddenInstruction, "opcode %#x: build for the core instructions, without SIMD, threads, "+
			"tail calls or exceptions", op)
	}
}

// misc skips the immediates of the instructions behind prefix 0xfc: saturating conversions and bulk
// operations. Growing a table is the one way to take memory that no limit covers, so it is refused.
func (c *cursor) misc() (sub uint32) {
	switch sub = c.U32(); {
	case c.Misc(sub):
	case sub == wasm.MiscTableGrow:
		c.refuse(ForbiddenInstruction, "table.grow: a policy's tables have a fixed size")
	default:
		c.refuse(ForbiddenInstruction, "opcode 0xfc %d is not known", sub)
	}
	return sub
}

// constant skips a constant expression.
func (c *cursor) constant() {
	for c.Err == nil {
		switch op := c.Byte(); op {
		case wasm.OpEnd:
			return
		case wasm.OpI32Const, wasm.OpI64Const, wasm.OpF32Const, wasm.OpF64Const, wasm.OpGlobalGet, wasm.OpRefNull,
			wasm.OpRefFunc:
			c.Immediates(op)
		default:
			c.Malformed("opcode %#x in a constant", op)
		}
	}
}
