package plugins

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/datanode/datanode/plugins/internal/wasm"
)

// Bounds of a module. They are what a Go guest of a few megabytes needs, with room to spare; the
// compiler is never shown anything outside them, because it believes counts (36 bytes can make it
// take all memory) and cannot be stopped once it has begun.
const (
	maxModuleBytes   = 8 << 20
	maxTypes         = 4096
	maxParams        = 64
	maxResults       = 16
	maxImports       = 256
	maxFunctions     = 65536
	maxGlobals       = 4096
	maxExports       = 1024
	maxNameBytes     = 256
	maxTableElements = 65536
	maxSegments      = 65536
	maxFunctionBytes = 1 << 20
	maxLocals        = 8192 // in one function
	maxNesting       = 4096 // blocks within blocks of one function; Go nests one for each point it can resume at
)

// layout is what a scan learns about a module.
type layout struct {
	types     []signature
	functions []int // type of each function, imported ones first
	imported  int   // functions that are imported
	exports   map[string]extern
	memories  int
	pages     uint32   // of memory to begin with
	imports   []string // such as datanode.log

	globals int // and of these
	mutable int
	live    int // bytes of instructions that can be reached
	effort  int // that compiling takes

	// code is the module without its custom sections. They carry names and line tables, which a
	// compiler parses with less care than it parses code.
	code []byte
}

type extern struct {
	kind  byte
	index uint32
}

func digestOf(module []byte) string {
	sum := sha256.Sum256(module)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// scan walks over a module without believing any count in it, and refuses what it is not ready to
// hand to the compiler. It allocates in proportion to the module's bytes, never to what they claim.
// It does not check types of values: the compiler's validation does that, after the scan.
func scan(module []byte, memoryPages uint32) (*layout, error) {
	if len(module) > maxModuleBytes {
		return nil, refuse(TooLarge, "%d bytes, the most is %d: build without symbols, e.g. -ldflags='-s -w'",
			len(module), maxModuleBytes)
	}
	if len(module) < len(wasm.Header) || string(module[:4]) != wasm.Magic {
		return nil, refuse(NotWasm, "it does not begin with \\0asm: give the compiled .wasm file, not its source")
	}
	if v := module[4:len(wasm.Header)]; string(v) != wasm.Header[4:] {
		return nil, refuse(NotWasm, "binary version %x, want 01000000: build a core module, not a component", v)
	}
	l := &layout{exports: map[string]extern{}}
	if err := l.sections(module, memoryPages); err != nil {
		return nil, malformed(err)
	}
	return l, l.abi()
}

func (l *layout) sections(module []byte, memoryPages uint32) error {
	c := &cursor{wasm.Read(module)}
	l.code = append(l.code, c.Bytes(len(wasm.Header))...)
	for place := 0; c.Left() > 0; {
		from := c.Off
		id := c.Byte()
		body := c.sub(c.U32())
		if c.Err != nil {
			return c.Err
		}
		if id == wasm.SecCustom {
			continue
		}
		if place = wasm.After(place, id); place == 0 {
			return refuse(Malformed, "section %d at byte %d is unknown, twice or out of order", id, from)
		}
		if err := l.section(id, body, memoryPages); err != nil {
			return err
		}
		l.code = append(l.code, module[from:c.Off]...)
	}
	return nil
}

func (l *layout) section(id byte, c *cursor, memoryPages uint32) error {
	switch id {
	case wasm.SecType:
		l.typeSection(c)
	case wasm.SecImport:
		l.importSection(c)
	case wasm.SecFunction:
		l.functionSection(c)
	case wasm.SecTable:
		l.tableSection(c)
	case wasm.SecMemory:
		l.memorySection(c, memoryPages)
	case wasm.SecGlobal:
		l.globalSection(c)
	case wasm.SecExport:
		l.exportSection(c)
	case wasm.SecStart:
		c.refuse(StartSection, "start code would run before the policy is asked anything: export it as "+
			"_initialize instead (AssemblyScript: --exportStart _initialize)")
	case wasm.SecElement:
		elementSection(c)
	case wasm.SecDataCount:
		c.U32()
	case wasm.SecCode:
		l.codeSection(c)
	case wasm.SecData:
		dataSection(c)
	}
	if c.Err == nil && c.Left() > 0 {
		c.Malformed("section %d has %d bytes too many", id, c.Left())
	}
	return c.Err
}

func (l *layout) typeSection(c *cursor) {
	for n := c.count(maxTypes, "types"); n > 0 && c.Err == nil; n-- {
		if form := c.Byte(); form != wasm.FuncType {
			c.Malformed("type form %#x, want 0x60", form)
		}
		params := c.Bytes(c.count(maxParams, "parameters"))
		results := c.Bytes(c.count(maxResults, "results"))
		l.types = append(l.types, signature{string(params), string(results)})
	}
}

func (l *layout) functionSection(c *cursor) {
	for n := c.count(maxFunctions, "functions"); n > 0 && c.Err == nil; n-- {
		l.functions = append(l.functions, c.Index(len(l.types), "type"))
	}
}

func (l *layout) tableSection(c *cursor) {
	for n := c.count(16, "tables"); n > 0 && c.Err == nil; n-- {
		c.ValueType()
		least := c.limits()
		if least > maxTableElements {
			c.refuse(TableTooLarge, "a table of %d elements, the most is %d", least, maxTableElements)
		}
	}
}

func (l *layout) memorySection(c *cursor, pages uint32) {
	for n := c.count(1, "memories"); n > 0 && c.Err == nil; n-- {
		l.memories++
		least := c.limits()
		l.pages = least
		if least > pages {
			c.refuse(MemoryTooLarge, "it begins with %d pages of 64 KiB, the most is %d", least, pages)
		}
	}
}

func (l *layout) globalSection(c *cursor) {
	for n := c.count(maxGlobals, "globals"); n > 0 && c.Err == nil; n-- {
		c.ValueType()
		l.globals++
		l.mutable += int(c.Byte() & 1)
		c.constant()
	}
}

func (l *layout) exportSection(c *cursor) {
	for n := c.count(maxExports, "exports"); n > 0 && c.Err == nil; n-- {
		name := c.name()
		l.exports[name] = extern{c.Byte(), c.U32()}
	}
}

func elementSection(c *cursor) {
	for n := c.count(maxSegments, "element segments"); n > 0 && c.Err == nil; n-- {
		flags := c.U32()
		if flags > 7 {
			c.Malformed("element segment flags %#x", flags)
		}
		if active := flags&1 == 0; active {
			if flags&2 != 0 {
				c.U32() // table
			}
			c.constant()
		}
		if flags&3 != 0 {
			c.Byte() // kind or type of the elements
		}
		for m := c.count(maxTableElements, "elements of a segment"); m > 0 && c.Err == nil; m-- {
			if flags&4 != 0 {
				c.constant()
			} else {
				c.U32()
			}
		}
	}
}

func dataSection(c *cursor) {
	for n := c.count(maxSegments, "data segments"); n > 0 && c.Err == nil; n-- {
		flags := c.U32()
		if flags > 2 {
			c.Malformed("data segment flags %#x", flags)
		}
		if flags == 2 {
			c.U32() // memory
		}
		if flags != 1 {
			c.constant()
		}
		c.sub(c.U32())
	}
}
