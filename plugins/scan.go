package plugins

import (
	"crypto/sha256"
	"encoding/hex"
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
	maxLocals        = 8192    // in one function
	maxLocalsModule  = 4 << 20 // in all of them
	maxNesting       = 4096    // blocks within blocks of one function; Go nests one for each point it can resume at
	maxLive          = 1 << 18 // locals times blocks and jumps of one function: what merging control flow costs; Go has 10,000
	maxLiveModule    = 1 << 21 // in all of them; a Go guest comes to 520 thousand
	maxBlockArity    = 1 << 18 // parameters and results of all blocks of a module
	maxBranches      = 8192    // blocks and jumps of one function; the largest of a Go guest has 1300
	maxEffort        = 1 << 27 // squares of them, summed over a module; a Go guest comes to 12 million
	maxTargets       = 1 << 16 // of one branch table; the largest of a Go guest has 900
)

// Section numbers of the WebAssembly core specification 2.0, §5.5.2.
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
)

// secOrder is the place of each section in a module; 0 for custom sections, which stand anywhere.
var secOrder = [...]int{secType: 1, secImport: 2, secFunction: 3, secTable: 4, secMemory: 5, secGlobal: 6,
	secExport: 7, secStart: 8, secElement: 9, secDataCount: 10, secCode: 11, secData: 12}

// Kinds of imports and exports.
const (
	externFunc   = 0
	externTable  = 1
	externMemory = 2
	externGlobal = 3
)

var magic = []byte("\x00asm")

// layout is what a scan learns about a module.
type layout struct {
	types     []signature
	functions []uint32 // type of each function, imported ones first
	imported  int      // functions that are imported
	exports   map[string]extern
	memories  int
	pages     uint32   // of memory to begin with
	imports   []string // such as datanode.log

	locals int // declared in all functions
	live   int // locals times blocks and jumps, summed over all functions
	arity  int // of all blocks
	effort int // that compiling takes: it grows with the square of the branches of a function

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
	if len(module) < 8 || string(module[:4]) != string(magic) {
		return nil, refuse(NotWasm, "it does not begin with \\0asm: give the compiled .wasm file, not its source")
	}
	if v := string(module[4:8]); v != "\x01\x00\x00\x00" {
		return nil, refuse(NotWasm, "binary version %x, want 01000000: build a core module, not a component", v)
	}
	l := &layout{exports: map[string]extern{}, code: append([]byte(nil), module[:8]...)}
	c := &cursor{buf: module, off: 8}
	for last := 0; c.left() > 0; {
		from := c.off
		id := c.byte()
		body := c.sub(c.u32())
		if c.err != nil {
			return nil, c.err
		}
		if id == secCustom {
			continue
		}
		if int(id) >= len(secOrder) || secOrder[id] <= last {
			return nil, refuse(Malformed, "section %d at byte %d is unknown, twice or out of order", id, from)
		}
		last = secOrder[id]
		if err := l.section(id, body, memoryPages); err != nil {
			return nil, err
		}
		l.code = append(l.code, module[from:c.off]...)
	}
	return l, l.abi()
}

func (l *layout) section(id byte, c *cursor, memoryPages uint32) error {
	switch id {
	case secType:
		l.typeSection(c)
	case secImport:
		l.importSection(c)
	case secFunction:
		l.functionSection(c)
	case secTable:
		l.tableSection(c)
	case secMemory:
		l.memorySection(c, memoryPages)
	case secGlobal:
		l.globalSection(c)
	case secExport:
		l.exportSection(c)
	case secStart:
		c.refuse(StartSection, "start code would run before the policy is asked anything: export it as "+
			"_initialize instead (AssemblyScript: --exportStart _initialize)")
	case secElement:
		elementSection(c)
	case secDataCount:
		c.u32()
	case secCode:
		l.codeSection(c)
	case secData:
		dataSection(c)
	}
	if c.err == nil && c.left() > 0 {
		c.malformed("section %d has %d bytes too many", id, c.left())
	}
	return c.err
}

func (l *layout) typeSection(c *cursor) {
	for n := c.count(maxTypes, "types"); n > 0 && c.err == nil; n-- {
		if form := c.byte(); form != 0x60 {
			c.malformed("type form %#x, want 0x60", form)
		}
		params := c.bytes(c.count(maxParams, "parameters"))
		results := c.bytes(c.count(maxResults, "results"))
		l.types = append(l.types, signature{string(params), string(results)})
	}
}

func (l *layout) functionSection(c *cursor) {
	for n := c.count(maxFunctions, "functions"); n > 0 && c.err == nil; n-- {
		l.functions = append(l.functions, l.typeIndex(c))
	}
}

func (l *layout) typeIndex(c *cursor) uint32 {
	i := c.u32()
	if c.err == nil && int(i) >= len(l.types) {
		c.malformed("type %d of %d", i, len(l.types))
	}
	return i
}

func (l *layout) tableSection(c *cursor) {
	for n := c.count(16, "tables"); n > 0 && c.err == nil; n-- {
		c.byte() // element type
		least, _, _ := c.limits()
		if least > maxTableElements {
			c.refuse(TableTooLarge, "a table of %d elements, the most is %d", least, maxTableElements)
		}
	}
}

func (l *layout) memorySection(c *cursor, pages uint32) {
	for n := c.count(1, "memories"); n > 0 && c.err == nil; n-- {
		l.memories++
		least, _, _ := c.limits()
		l.pages = least
		if least > pages {
			c.refuse(MemoryTooLarge, "it begins with %d pages of 64 KiB, the most is %d", least, pages)
		}
	}
}

func (l *layout) globalSection(c *cursor) {
	for n := c.count(maxGlobals, "globals"); n > 0 && c.err == nil; n-- {
		c.bytes(2) // type, mutability
		c.constant()
	}
}

func (l *layout) exportSection(c *cursor) {
	for n := c.count(maxExports, "exports"); n > 0 && c.err == nil; n-- {
		name := c.name()
		l.exports[name] = extern{c.byte(), c.u32()}
	}
}

func elementSection(c *cursor) {
	for n := c.count(maxSegments, "element segments"); n > 0 && c.err == nil; n-- {
		flags := c.u32()
		if flags > 7 {
			c.malformed("element segment flags %#x", flags)
		}
		if active := flags&1 == 0; active {
			if flags&2 != 0 {
				c.u32() // table
			}
			c.constant()
		}
		if flags&3 != 0 {
			c.byte() // kind or type of the elements
		}
		for m := c.count(maxTableElements, "elements of a segment"); m > 0 && c.err == nil; m-- {
			if flags&4 != 0 {
				c.constant()
			} else {
				c.u32()
			}
		}
	}
}

func dataSection(c *cursor) {
	for n := c.count(maxSegments, "data segments"); n > 0 && c.err == nil; n-- {
		flags := c.u32()
		if flags > 2 {
			c.malformed("data segment flags %#x", flags)
		}
		if flags == 2 {
			c.u32() // memory
		}
		if flags != 1 {
			c.constant()
		}
		c.sub(c.u32())
	}
}
