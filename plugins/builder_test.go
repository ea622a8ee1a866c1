package plugins

import (
	"encoding/binary"
	"slices"

	"github.com/datanode/datanode/plugins/internal/wasm"
)

// This file writes small modules by hand, so that the tests need no other tool.

func uleb[T ~int | ~uint32 | ~uint64](n T) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func cat(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func sized(body []byte) []byte { return cat(uleb(len(body)), body) }

// vec is a vector of items; section a section that holds one.
func vec(items ...[]byte) []byte { return cat(uleb(len(items)), cat(items...)) }

func section(id byte, items ...[]byte) []byte { return rawSection(id, vec(items...)) }

func rawSection(id byte, body []byte) []byte { return cat([]byte{id}, sized(body)) }

func moduleOf(sections ...[]byte) []byte {
	return cat([]byte("\x00asm\x01\x00\x00\x00"), cat(sections...))
}

func funcType(params, results string) []byte {
	return cat([]byte{0x60}, sized([]byte(params)), sized([]byte(results)))
}

func export(name string, kind byte, index int) []byte {
	return cat(sized([]byte(name)), []byte{kind}, uleb(index))
}

func importFunc(module, name string, typ int) []byte {
	return cat(sized([]byte(module)), sized([]byte(name)), []byte{wasm.ExternFunc}, uleb(typ))
}

// body is a function body: groups of locals, and code without its last end.
func body(locals []byte, code ...[]byte) []byte {
	return sized(cat(locals, cat(code...), []byte{wasm.OpEnd}))
}

var (
	noLocals  = vec()
	oneLocal  = vec([]byte{1, 0x7f})
	memory2   = []byte{0, 2}
	constHeap = []byte{0x7f, 1, wasm.OpI32Const, 0x80, 0x20, wasm.OpEnd} // mutable i32 global: 4096
)

// guestParts are the parts of a small guest. Every one can be replaced.
type guestParts struct {
	imports  [][]byte // functions; they come first in the index space
	describe string
	memory   []byte
	alloc    []byte // code of (n) -> ptr
	score    []byte // code of (in, n, out) -> written
	conflict []byte // code of (in, n, out) -> written
	locals   []byte // of score
	drop     string // an export that is left away

	initialize     []byte // code of _initialize, which is exported if there is any
	beforeDescribe []byte // code of policy_describe before it answers
	table          []byte
	types          [][]byte // more types
	extra          [][]byte
	exports        [][]byte // more exports
}

const (
	typeNone = iota
	typeAlloc
	typeDescribe
	typeBatch
	typeTwo
	typeExit
)

var guestTypes = [][]byte{
	typeNone:     funcType("", ""),
	typeAlloc:    funcType(i32, i32),
	typeDescribe: funcType("", i64),
	typeBatch:    funcType(i32+i32+i32, i32),
	typeTwo:      funcType(i32+i32, ""),
	typeExit:     funcType(i32, ""),
}

const describeTiny = `{"name":"tiny","version":"1","reasons":["unspecified","one"]}`

// magicQueued in QueuedOps makes whenMagic code run.
const magicQueued = 0x5a5a

// bump allocates: it gives the old heap pointer and moves it by n rounded up to 8.
var bump = []byte{
	0x23, 0, // global.get 0
	0x23, 0, 0x20, 0, 0x41, 7, 0x6a, 0x41, 0x78, 0x71, 0x6a, 0x24, 0, // heap += (n+7) & -8
}

// whenMagic runs code if the first record's QueuedOps is magicQueued; at is where the facts begin.
func whenMagic(at int, code ...byte) []byte {
	return cat([]byte{0x20, 0, 0x28, 2}, uleb(headerBytes+at+44),
		[]byte{0x41, 0xda, 0xb4, 0x01, 0x46, wasm.OpIf, wasm.BlockEmpty},
		code, []byte{wasm.OpEnd})
}

// waitAlways answers verdict wait for all pairs.
var waitAlways = []byte{
	wasm.OpBlock, wasm.BlockEmpty, wasm.OpLoop, wasm.BlockEmpty,
	0x20, 3, 0x20, 1, 0x4f, wasm.OpBrIf, 1, // i >= n: break
	0x20, 2, 0x20, 3, 0x41, 3, 0x74, 0x6a, 0x41, 2, 0x3a, 0, 0, // store8 out+i*8, 2
	0x20, 3, 0x41, 1, 0x6a, 0x21, 3, wasm.OpBr, 0, // i++
	wasm.OpEnd, wasm.OpEnd,
}

var returnN = []byte{0x20, 1}

func tiny(change func(*guestParts)) []byte {
	g := guestParts{
		describe: describeTiny, memory: memory2, alloc: bump,
		score: returnN, conflict: cat(waitAlways, returnN), locals: oneLocal,
	}
	if change != nil {
		change(&g)
	}
	return g.bytes()
}

func (g *guestParts) bytes() []byte {
	first := len(g.imports)
	describe := cat(g.beforeDescribe, []byte{wasm.OpI64Const}, sleb(16<<32|int64(len(g.describe))))
	exports := g.exports
	for i, e := range [][]byte{
		export("memory", wasm.ExternMemory, 0), export("policy_abi_v1", wasm.ExternFunc, first),
		export("policy_alloc", wasm.ExternFunc, first+1), export("policy_describe", wasm.ExternFunc, first+2),
		export("policy_score", wasm.ExternFunc, first+3), export("policy_conflict", wasm.ExternFunc, first+4),
	} {
		if name := []string{"memory", exportMarker, exportAlloc, exportDescribe, exportScore,
			exportConflict}[i]; name != g.drop {
			exports = append(exports, e)
		}
	}
	functions := [][]byte{uleb(typeNone), uleb(typeAlloc), uleb(typeDescribe), uleb(typeBatch), uleb(typeBatch)}
	bodies := [][]byte{body(noLocals), body(noLocals, g.alloc), body(noLocals, describe), body(g.locals, g.score),
		body(oneLocal, g.conflict)}
	if g.initialize != nil {
		exports = append(exports, export(exportInitialize, wasm.ExternFunc, first+len(functions)))
		functions, bodies = append(functions, uleb(typeNone)), append(bodies, body(noLocals, g.initialize))
	}
	sections := [][]byte{section(wasm.SecType, append(slices.Clone(guestTypes), g.types...)...)}
	if len(g.imports) > 0 {
		sections = append(sections, section(wasm.SecImport, g.imports...))
	}
	sections = append(sections, section(wasm.SecFunction, functions...))
	if g.table != nil {
		sections = append(sections, section(wasm.SecTable, g.table))
	}
	sections = append(sections, section(wasm.SecMemory, g.memory), section(wasm.SecGlobal, constHeap),
		section(wasm.SecExport, exports...))
	sections = append(sections, g.extra...)
	return moduleOf(append(sections,
		section(wasm.SecCode, bodies...),
		section(wasm.SecData, cat([]byte{0, wasm.OpI32Const, 16, wasm.OpEnd}, sized([]byte(g.describe)))))...)
}

func sleb(n int64) []byte {
	var out []byte
	for {
		b := byte(n & 0x7f)
		n >>= 7
		if n == 0 && b&0x40 == 0 || n == -1 && b&0x40 != 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}
