package meter

import "bytes"

// Numbers of the sections (core specification 2.0, §5.5.2).
const (
	secCustom = iota
	secType
	secImport
	secFunction
	secTable
	secMemory
	secGlobal
	secExport
	secStart
	secElement
	secCode
	secData
	secDataCount
	sections // how many there are
)

// order is that of the sections in a module. Custom sections stand anywhere.
var order = [...]byte{secType, secImport, secFunction, secTable, secMemory, secGlobal, secExport, secStart,
	secElement, secDataCount, secCode, secData}

// Kinds of imports and exports.
const (
	externFunc   = 0
	externTable  = 1
	externMemory = 2
	externGlobal = 3
)

// Types of values, and of blocks without parameters and results.
const (
	typeI32       = 0x7f
	typeI64       = 0x7e
	typeF32       = 0x7d
	typeF64       = 0x7c
	typeFuncref   = 0x70
	typeExternref = 0x6f
	blockEmpty    = 0x40
)

const headerBytes = 8

// module is what is known of a module when it has been walked over.
type module struct {
	bytes   []byte
	section [sections]part

	params        []int // of each type
	types         []int // of each function, imported ones first
	importedFuncs int
	globals       int // imported ones included
	defined       int // globals that are not imported
	exports       int
	effort        int // of compiling: squares of the points of each function

	code []byte // the new code section
	body []byte // the function that was last written to it
}

// part is a range of a module's bytes: a section's vector without its count, for those that are rewritten.
type part struct {
	from, to int
	present  bool
}

func parse(code []byte) (*module, error) {
	m := &module{bytes: code}
	c := &cursor{module: code, end: len(code)}
	if header := c.bytes(headerBytes); c.err != nil || !bytes.Equal(header, []byte("\x00asm\x01\x00\x00\x00")) {
		return nil, &Error{Reason: Malformed, Detail: "it does not begin with \\0asm and version 1"}
	}
	for place := 0; c.left() > 0; {
		at := c.off
		id := c.byte()
		body := c.sub(c.u32())
		if c.err != nil {
			return nil, c.err
		}
		if id == secCustom {
			continue
		}
		if place = after(place, id); place == 0 {
			return nil, &Error{Reason: Malformed, Offset: at, Detail: "a section that is unknown, twice or out of order"}
		}
		m.section[id] = part{body.off, body.end, true}
		if err := m.parseSection(id, body); err != nil {
			return nil, err
		}
	}
	if n := len(m.types) - m.importedFuncs; n > 0 && !m.section[secCode].present {
		c.fail(Malformed, "no function bodies, but %d functions are declared", n)
	}
	return m, c.err
}

// after gives the place behind section id, or 0 if it does not come at place or later.
func after(place int, id byte) int {
	for i := place; i < len(order); i++ {
		if order[i] == id {
			return i + 1
		}
	}
	return 0
}

func (m *module) parseSection(id byte, c *cursor) error {
	switch id {
	case secType:
		m.parseTypes(c)
	case secImport:
		m.parseImports(c)
	case secFunction:
		m.parseFunctions(c)
	case secGlobal:
		m.parseGlobals(c)
	case secExport:
		m.parseExports(c)
	case secStart:
		c.index(len(m.types), "function")
	case secElement:
		m.parseElements(c)
	case secCode:
		m.parseCode(c)
	case secData:
		m.parseData(c)
	default: // nothing in it is changed or counted
		c.bytes(c.left())
	}
	return c.done("a section")
}

func (m *module) parseTypes(c *cursor) {
	for n := c.count("types"); n > 0 && c.err == nil; n-- {
		if form := c.byte(); form != 0x60 {
			c.fail(Malformed, "type form %#x, want 0x60", form)
		}
		params := c.count("parameters")
		for range params {
			c.valueType()
		}
		for range c.count("results") {
			c.valueType()
		}
		m.params = append(m.params, params)
	}
}

func (m *module) parseImports(c *cursor) {
	for n := c.count("imports"); n > 0 && c.err == nil; n-- {
		c.bytes(c.count("bytes of a name"))
		c.bytes(c.count("bytes of a name"))
		switch kind := c.byte(); kind {
		case externFunc:
			m.types = append(m.types, c.index(len(m.params), "type"))
			m.importedFuncs++
		case externTable:
			c.valueType()
			c.limits()
		case externMemory:
			c.limits()
		case externGlobal:
			c.valueType()
			c.byte() // mutability
			m.globals++
		default:
			c.fail(Malformed, "import of kind %#x", kind)
		}
	}
}

func (m *module) parseFunctions(c *cursor) {
	for n := c.count("functions"); n > 0 && c.err == nil; n-- {
		m.types = append(m.types, c.index(len(m.params), "type"))
	}
}

// parseGlobals counts a global only when it is complete: its value cannot refer to itself, nor to
// those that follow.
func (m *module) parseGlobals(c *cursor) {
	n := c.count("globals")
	m.section[secGlobal].from = c.off
	for ; n > 0 && c.err == nil; n-- {
		c.valueType()
		c.byte() // mutability
		m.skipConstant(c)
		m.globals++
		m.defined++
	}
}

func (m *module) parseExports(c *cursor) {
	m.exports = c.count("exports")
	m.section[secExport].from = c.off
	for n := m.exports; n > 0 && c.err == nil; n-- {
		at := c.off
		name := c.bytes(c.count("bytes of a name"))
		if string(name) == Export {
			c.err = &Error{Reason: AlreadyMetered, Offset: at, Detail: "it exports " + Export + " itself"}
		}
		switch kind := c.byte(); kind {
		case externFunc:
			c.index(len(m.types), "function")
		case externGlobal:
			c.index(m.globals, "global")
		default:
			c.u32()
		}
	}
}

func (m *module) parseElements(c *cursor) {
	for n := c.count("element segments"); n > 0 && c.err == nil; n-- {
		flags := c.u32()
		if flags > 7 {
			c.fail(Malformed, "element segment flags %#x", flags)
		}
		if active := flags&1 == 0; active {
			if flags&2 != 0 {
				c.u32() // table
			}
			m.skipConstant(c)
		}
		switch {
		case flags&3 == 0: // functions
		case flags&4 != 0:
			c.valueType()
		default:
			c.zero() // functions
		}
		for e := c.count("elements"); e > 0 && c.err == nil; e-- {
			if flags&4 != 0 {
				m.skipConstant(c)
			} else {
				c.u32()
			}
		}
	}
}

func (m *module) parseData(c *cursor) {
	for n := c.count("data segments"); n > 0 && c.err == nil; n-- {
		flags := c.u32()
		if flags > 2 {
			c.fail(Malformed, "data segment flags %#x", flags)
		}
		if flags == 2 {
			c.u32() // memory
		}
		if flags != 1 {
			m.skipConstant(c)
		}
		c.bytes(c.count("bytes of data"))
	}
}

func (m *module) skipConstant(c *cursor) {
	for c.err == nil {
		switch op := c.byte(); op {
		case opEnd:
			return
		case opGlobalGet:
			c.index(m.globals, "global")
		case opI32Const:
			c.leb(5)
		case opI64Const:
			c.leb(10)
		case opF32Const:
			c.bytes(4)
		case opF64Const:
			c.bytes(8)
		case opRefNull:
			c.valueType()
		case opRefFunc:
			c.u32()
		default:
			c.unknown(c.off-1, uint32(op))
		}
	}
}
