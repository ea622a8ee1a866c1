package plugins

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/datanode/datanode/plugins/internal/wasm"
)

// refusals are modules that must not be accepted, one for each reason and each bound.
func refusals() map[string]hostile {
	all := map[string]hostile{}
	for _, some := range []map[string]hostile{
		refusedSections(), refusedCounts(), refusedSizes(), refusedInstructions(),
		refusedExports(), refusedDescriptions(), refusedAnswers(), refusedBlowups(),
	} {
		maps.Copy(all, some)
	}
	return all
}

// refusedSections: what is no module, or whose sections are not in order.
func refusedSections() map[string]hostile {
	types := guestTypeSection()
	return map[string]hostile{
		"empty":           {nil, NotWasm, "does not begin with"},
		"text":            {[]byte("(module (func))"), NotWasm, "not its source"},
		"component":       {[]byte("\x00asm\x0d\x00\x01\x00"), NotWasm, "not a component"},
		"too large":       {make([]byte, maxModuleBytes+1), TooLarge, "the most is 8388608"},
		"cut":             {tiny(nil)[:100], Malformed, "are left"},
		"sections twice":  {moduleOf(types, types), Malformed, "twice or out of order"},
		"unknown section": {moduleOf(rawSection(14, nil)), Malformed, "unknown"},
		"bytes too many":  {moduleOf(rawSection(wasm.SecType, []byte{0, 0})), Malformed, "1 bytes too many"},
	}
}

// refusedCounts: what names more than there is.
func refusedCounts() map[string]hostile {
	types := guestTypeSection()
	return map[string]hostile{
		"types that are not there":     {moduleOf(rawSection(wasm.SecType, uleb(9))), Malformed, "types in 0 bytes"},
		"functions that are not there": {moduleOf(types, rawSection(wasm.SecFunction, uleb(9))), Malformed, "functions in"},
		"bodies that are not there": {moduleOf(types, section(wasm.SecFunction, uleb(0)),
			rawSection(wasm.SecCode, uleb(0))), Malformed, "0 function bodies"},
		"a number too long": {moduleOf(rawSection(wasm.SecType, bytes.Repeat([]byte{0xff}, 10))), Malformed,
			"too long"},
		"a type that is not there": {moduleOf(types, section(wasm.SecFunction, uleb(77))), Malformed, "type 77 of 6"},
		"many parameters": {moduleOf(section(wasm.SecType, funcType(strings.Repeat(i32, 65), ""))), TooComplex,
			"65 parameters"},
		"many results": {moduleOf(section(wasm.SecType, funcType("", strings.Repeat(i32, 17)))), TooComplex,
			"17 results"},
		"a long name": {
			tiny(func(g *guestParts) { g.exports = [][]byte{export(strings.Repeat("x", 300), 0, 0)} }), TooComplex,
			"300 bytes in a name"},
	}
}

// refusedSizes: what would be too much for the compiler.
func refusedSizes() map[string]hostile {
	return map[string]hostile{
		// The engine believes such counts.
		"locals": {oneFunction(body(localsI32(maxLocals + 1))), TooManyLocals, "8193 locals"},
		"locals in groups": {
			oneFunction(body(cat(uleb(2), uleb(maxLocals/2), []byte{0x7f}, uleb(maxLocals/2+1), []byte{0x7f}))),
			TooManyLocals, "8193 locals"},
		"blocks in all": {justBeyond(1, func(n int) []byte {
			return manyFunctions(n, body(noLocals, times(1200, wasm.OpBlock, wasm.BlockEmpty), times(1200, wasm.OpEnd)))
		}), TooComplex, "to the end of function"},
		"nesting": {oneFunction(body(noLocals, bytes.Repeat([]byte{wasm.OpBlock, wasm.BlockEmpty}, maxNesting+1),
			bytes.Repeat([]byte{wasm.OpEnd}, maxNesting+1))), NestedTooDeep, "deeper than 4096"},
		"a function too long": {oneFunction(body(noLocals, bytes.Repeat([]byte{1}, maxFunctionBytes))), TooComplex,
			"a function of"},
		"branch targets": {oneFunction(body(noLocals, []byte{wasm.OpI32Const, 0, wasm.OpBrTable}, uleb(99))), Malformed,
			"branch targets in"},
		"no end": {oneFunction(sized([]byte{0, wasm.OpBlock, wasm.BlockEmpty, wasm.OpEnd})), Malformed,
			"are left"},
		"after the end": {oneFunction(sized([]byte{0, wasm.OpEnd, 1})), Malformed, "after the end"},
	}
}

// refusedInstructions: what a policy may not do or import.
func refusedInstructions() map[string]hostile {
	types := guestTypeSection()
	return map[string]hostile{
		"SIMD":          {scoreIs(0xfd, 0x0c), ForbiddenInstruction, "opcode 0xfd"},
		"threads":       {scoreIs(0xfe, 0x00), ForbiddenInstruction, "opcode 0xfe"},
		"table.grow":    {scoreIs(0xfc, 15, 0), ForbiddenInstruction, "table.grow"},
		"unknown bulk":  {scoreIs(0xfc, 99), ForbiddenInstruction, "0xfc 99"},
		"shared memory": {tiny(func(g *guestParts) { g.memory = []byte{3, 1, 1} }), ForbiddenInstruction, "no shared"},
		"code in data": {moduleOf(rawSection(wasm.SecData, []byte{1, 0, wasm.OpCall, 0, wasm.OpEnd, 0})), Malformed,
			"in a constant"},
		"start": {tiny(func(g *guestParts) { g.extra = [][]byte{rawSection(wasm.SecStart, uleb(0))} }), StartSection,
			"_initialize"},
		"memory":       {tiny(func(g *guestParts) { g.memory = cat([]byte{0}, uleb(257)) }), MemoryTooLarge, "257 pages"},
		"two memories": {moduleOf(section(wasm.SecMemory, memory2, memory2)), TooComplex, "2 memories"},
		"table": {moduleOf(section(wasm.SecTable, cat([]byte{0x70, 0}, uleb(maxTableElements+1)))), TableTooLarge,
			"65537 elements"},
		"import of WASI": {tinyImporting(moduleWASI, "path_open", typeNone), ForbiddenImport,
			"wasi_snapshot_preview1.path_open"},
		"import of env": {tinyImporting("env", "a\x1b[2Jb\n", typeNone), ForbiddenImport, `env.a\x1b[2Jb\n`},
		"import of memory": {moduleOf(types, section(wasm.SecImport, cat(sized([]byte("env")), sized([]byte("memory")),
			[]byte{wasm.ExternMemory, 0, 1}))), ForbiddenImport, "env.memory"},
		"import of another type": {tinyImporting(moduleHost, "log", typeNone), WrongSignature,
			"import datanode.log is () -> (), want (i32, i32) -> ()"},
	}
}

// refusedExports: what does not export what it should.
func refusedExports() map[string]hostile {
	return map[string]hostile{
		"no memory": {tiny(func(g *guestParts) { g.drop = "memory" }), MissingExport, `"memory"`},
		"no marker": {tiny(func(g *guestParts) { g.drop = exportMarker }), MissingExport,
			"policy_abi_v1: export it as () -> ()"},
		"no alloc": {tiny(func(g *guestParts) { g.drop = exportAlloc }), MissingExport,
			"policy_alloc: export it as (i32) -> (i32)"},
		"no describe": {tiny(func(g *guestParts) { g.drop = exportDescribe }), MissingExport,
			"policy_describe: export it as () -> (i64)"},
		"no score": {tiny(func(g *guestParts) { g.drop = exportScore }), MissingExport,
			"policy_score: export it as (i32, i32, i32) -> (i32)"},
		"no conflict": {tiny(func(g *guestParts) { g.drop = exportConflict }), MissingExport, "policy_conflict: export"},
		"another init": {tiny(func(g *guestParts) { g.exports = [][]byte{export(exportInit, 0, 0)} }), WrongSignature,
			"policy_init is () -> (), want (i32, i32) -> ()"},
		"a global marker": {
			tiny(func(g *guestParts) { g.drop = exportMarker; g.exports = [][]byte{export(exportMarker, 3, 0)} }),
			WrongSignature, "is not a function"},
	}
}

// refusedDescriptions: what does not compile, or describes itself wrongly.
func refusedDescriptions() map[string]hostile {
	return map[string]hostile{
		"types that do not check": {scoreIs(0x6a), NotCompiled, "the compiler says"},
		"a describe that traps":   {tiny(func(g *guestParts) { g.describe = "" }), DescribeInvalid, "not the JSON"},
		"describe not JSON":       {describes("tiny 1"), DescribeInvalid, "not the JSON"},
		"describe without name":   {describes(`{"version":"1","reasons":["unspecified"]}`), DescribeInvalid, `name ""`},
		"describe a terminal": {describes(`{"name":"\u001b[2J","version":"1","reasons":["unspecified"]}`),
			DescribeInvalid, `name "\x1b[2J"`},
		"describe no reasons": {describes(`{"name":"a","version":"1"}`), DescribeInvalid, "must begin with"},
		"describe two lines": {describes(`{"name":"a","version":"1","reasons":["unspecified","a\nb"]}`), DescribeInvalid,
			"reason 1 is"},
	}
}

// refusedAnswers: what allocates or answers wrongly.
func refusedAnswers() map[string]hostile {
	return map[string]hostile{
		"alloc of nothing": {tiny(func(g *guestParts) { g.alloc = []byte{wasm.OpI32Const, 0} }), WrongPointer,
			"policy_alloc: pointer: 43032 bytes at 0x0"},
		"alloc out of bound": {tiny(func(g *guestParts) { g.alloc = []byte{wasm.OpI32Const, 0x78} }), WrongPointer,
			"at 0xfffffff8"},
		"alloc unaligned": {tiny(func(g *guestParts) { g.alloc = []byte{wasm.OpI32Const, 9} }), WrongPointer, "at 0x9"},
		"alloc twice":     {tiny(func(g *guestParts) { g.alloc = []byte{wasm.OpI32Const, 8} }), WrongPointer, "overlap"},
		"alloc traps":     {tiny(func(g *guestParts) { g.alloc = []byte{0x00} }), NotStarted, "policy_alloc: trap"},
		"always traps":    {scoreIs(0x00), SelfTestFailed, "policy_score: trap: wasm error: unreachable"},
		"never ends": {scoreIs(wasm.OpLoop, wasm.BlockEmpty, wasm.OpBr, 0, wasm.OpEnd), TooSlow,
			"policy_score: overrun"},
		"answers none": {tiny(func(g *guestParts) { g.score = []byte{wasm.OpI32Const, 0} }), WrongCount,
			"policy_score: count: 0 answers, want 72"},
		"no verdict": {tiny(func(g *guestParts) { g.conflict = returnN }), WrongAnswer,
			"resolution: verdict 0, want 1 to 5"},
		"remembers": {scoreIs(0x20, 2, 0x23, 0, 0x41, 1, 0x6a, 0x24, 0, 0x23, 0, 0x36, 2, 0), HiddenState,
			"answer from the record"},
	}
}

// oneFunction is a module with a single function of type 0, given by its body.
func oneFunction(code []byte) []byte {
	return moduleOf(guestTypeSection(), section(wasm.SecFunction, uleb(0)), rawSection(wasm.SecCode, cat(uleb(1), code)))
}

func guestTypeSection() []byte { return section(wasm.SecType, guestTypes...) }

func scoreIs(code ...byte) []byte {
	return tiny(func(g *guestParts) { g.score = cat(code, returnN) })
}

func describes(text string) []byte { return tiny(func(g *guestParts) { g.describe = text }) }

func manyFunctions(n int, code []byte) []byte {
	functions := make([][]byte, n)
	bodies := make([][]byte, n)
	for i := range functions {
		functions[i], bodies[i] = uleb(0), code
	}
	return moduleOf(section(wasm.SecType, guestTypes...), section(wasm.SecFunction, functions...),
		section(wasm.SecCode, bodies...))
}

func tinyImporting(module, name string, typ int) []byte {
	return tiny(func(g *guestParts) { g.imports = [][]byte{importFunc(module, name, typ)} })
}

func TestEveryRefusal(t *testing.T) {
	h := newHost(t, Options{})
	seen := map[LoadReason]bool{}
	for name, want := range refusals() {
		t.Run(name, func(t *testing.T) {
			m, err := h.Compile(context.Background(), want.module)
			if err == nil {
				m.Close(context.Background())
				t.Fatal("accepted")
			}
			checkRefused(t, err, want)
			seen[want.reason] = true
		})
	}
	for _, reason := range []LoadReason{NotWasm, TooLarge, Malformed, MissingExport, WrongSignature, ForbiddenImport,
		ForbiddenInstruction, StartSection, MemoryTooLarge, TableTooLarge, TooManyLocals, NestedTooDeep, TooComplex,
		NotCompiled, NotStarted, DescribeInvalid, SelfTestFailed} {
		if !seen[reason] {
			t.Errorf("no module is refused for %s", reason)
		}
	}
}

// What is just within the bounds is accepted, and the compiler can take it.
func TestWorstThatPasses(t *testing.T) {
	h := newHost(t, Options{})
	const deep = 3000
	blocks := cat(bytes.Repeat([]byte{wasm.OpBlock, wasm.BlockEmpty}, deep), bytes.Repeat([]byte{wasm.OpEnd}, deep))
	compile(t, h, scoring(blocks))
}

func TestCustomSectionsAreLeftAway(t *testing.T) {
	plain := tiny(nil)
	liar := rawSection(wasm.SecCustom, cat(sized([]byte("name")), []byte{1, 5}, uleb(99)))
	l, err := scan(cat(plain[:8], liar, plain[8:], liar), defaultMemoryPages)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(l.code, plain) {
		t.Errorf("%d bytes are left, want %d", len(l.code), len(plain))
	}
}

// Whatever the scan lets through, the compiler must be able to take or refuse.
func FuzzScan(f *testing.F) {
	for _, r := range refusals() {
		if len(r.module) < 1<<16 {
			f.Add(r.module)
		}
	}
	f.Add(tiny(nil))
	f.Add(Default())
	h, err := New(context.Background(), Options{MemoryPages: 16})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { h.Close(context.Background()) })
	f.Fuzz(func(t *testing.T, module []byte) {
		l, err := scan(module, 16)
		if err != nil {
			if refused := (*LoadError)(nil); !errors.As(err, &refused) {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		compiled, err := h.compile(context.Background(), l.code, "")
		if err == nil {
			compiled.close(context.Background())
		}
	})
}
