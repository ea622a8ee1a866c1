package meter

import "github.com/datanode/datanode/plugins/internal/wasm"

// module is what is known of a module when it has been walked over.
type module struct {
	bytes   []byte
	section [wasm.Sections]part

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
	c := &cursor{wasm.Read(code)}
	if header := c.Bytes(len(wasm.Header)); c.Err != nil || string(header) != wasm.Header {
		return nil, &Error{Reason: Malformed, Detail: "it does not begin with \\0asm and version 1"}
	}
	for place := 0; c.Left() > 0; {
		at := c.Off
		id := c.Byte()
		body := c.sub(c.U32())
		if c.Err != nil {
			return nil, c.Err
		}
		if id == wasm.SecCustom {
			continue
		}
		if place = wasm.After(place, id); place == 0 {
			return nil, &Error{Reason: Malformed, Offset: at, Detail: "a section that is unknown, twice or out of order"}
		}
		m.section[id] = part{body.Off, body.End, true}
		if err := m.parseSection(id, body); err != nil {
			return nil, err
		}
	}
	if n := len(m.types) - m.importedFuncs; n > 0 && !m.section[wasm.SecCode].present {
		c.Malformed("no function bodies, but %d functions are declared", n)
	}
	return m, c.Err
}

func (m *module) parseSection(id byte, c *cursor) error {
	switch id {
	case wasm.SecType:
		m.parseTypes(c)
	case wasm.SecImport:
		m.parseImports(c)
	case wasm.SecFunction:
		m.parseFunctions(c)
	case wasm.SecGlobal:
		m.parseGlobals(c)
	case wasm.SecExport:
		m.parseExports(c)
	case wasm.SecStart:
		c.Index(len(m.types), "function")
	case wasm.SecElement:
		m.parseElements(c)
	case wasm.SecCode:
		m.parseCode(c)
	case wasm.SecData:
		m.parseData(c)
	default: // nothing in it is changed or counted
		c.Bytes(c.Left())
	}
	return c.done("a section")
}

func (m *module) parseTypes(c *cursor) {
	for n := c.Count("types"); n > 0 && c.Err == nil; n-- {
		if form := c.Byte(); form != wasm.FuncType {
			c.Malformed("type form %#x, want 0x60", form)
		}
		params := c.Count("parameters")
		for range params {
			c.ValueType()
		}
		for range c.Count("results") {
			c.ValueType()
		}
		m.params = append(m.params, params)
	}
}

func (m *module) parseImports(c *cursor) {
	for n := c.Count("imports"); n > 0 && c.Err == nil; n-- {
		c.Bytes(c.Count("bytes of a name"))
		c.Bytes(c.Count("bytes of a name"))
		switch kind := c.Byte(); kind {
		case wasm.ExternFunc:
			m.types = append(m.types, c.Index(len(m.params), "type"))
			m.importedFuncs++
		case wasm.ExternTable:
			c.ValueType()
			c.limits()
		case wasm.ExternMemory:
			c.limits()
		case wasm.ExternGlobal:
			c.ValueType()
			c.Byte() // mutability
			m.globals++
		default:
			c.Malformed("import of kind %#x", kind)
		}
	}
}

func (m *module) parseFunctions(c *cursor) {
	for n := c.Count("functions"); n > 0 && c.Err == nil; n-- {
		m.types = append(m.types, c.Index(len(m.params), "type"))
	}
}

// parseGlobals counts a global only when it is complete: its value cannot refer to itself, nor to
// those that follow.
func (m *module) parseGlobals(c *cursor) {
	n := c.Count("globals")
	m.section[wasm.SecGlobal].from = c.Off
	for ; n > 0 && c.Err == nil; n-- {
		c.ValueType()
		c.Byte() // mutability
		m.skipConstant(c)
		m.globals++
		m.defined++
	}
}

func (m *module) parseExports(c *cursor) {
	m.exports = c.Count("exports")
	m.section[wasm.SecExport].from = c.Off
	for n := m.exports; n > 0 && c.Err == nil; n-- {
		at := c.Off
		name := c.Bytes(c.Count("bytes of a name"))
		if string(name) == Export {
			c.Err = &Error{Reason: AlreadyMetered, Offset: at, Detail: "it exports " + Export + " itself"}
		}
		switch kind := c.Byte(); kind {
		case wasm.ExternFunc:
			c.Index(len(m.types), "function")
		case wasm.ExternGlobal:
			c.Index(m.globals, "global")
		default:
			c.U32()
		}
	}
}

func (m *module) parseElements(c *cursor) {
	for n := c.Count("element segments"); n > 0 && c.Err == nil; n-- {
		flags := c.U32()
		if flags > 7 {
			c.Malformed("element segment flags %#x", flags)
		}
		if active := flags&1 == 0; active {
			if flags&2 != 0 {
				c.U32() // table
			}
			m.skipConstant(c)
		}
		switch {
		case flags&3 == 0: // functions
		case flags&4 != 0:
			c.ValueType()
		default:
			c.Zero() // functions
		}
		for e := c.Count("elements"); e > 0 && c.Err == nil; e-- {
			if flags&4 != 0 {
				m.skipConstant(c)
			} else {
				c.U32()
			}
		}
	}
}

func (m *module) parseData(c *cursor) {
	for n := c.Count("data segments"); n > 0 && c.Err == nil; n-- {
		flags := c.U32()
		if flags > 2 {
			c.Malformed("data segment flags %#x", flags)
		}
		if flags == 2 {
			c.U32() // memory
		}
		if flags != 1 {
			m.skipConstant(c)
		}
		c.Bytes(c.Count("bytes of data"))
	}
}

func (m *module) skipConstant(c *cursor) {
	for c.Err == nil {
		switch op := c.Byte(); op {
		case wasm.OpEnd:
			return
		case wasm.OpGlobalGet:
			c.Index(m.globals, "global")
		case wasm.OpI32Const, wasm.OpI64Const, wasm.OpF32Const, wasm.OpF64Const, wasm.OpRefNull, wasm.OpRefFunc:
			c.Immediates(op)
		default:
			c.unknown(c.Off-1, uint32(op))
		}
	}
}
