package plugins

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/datanode/datanode/plugins/internal/wasm"
	"github.com/datanode/datanode/plugins/meter"
)

// blowup is a family of modules of which the compiler takes more than their size lets one think.
type blowup struct {
	taken int // the size of one that passes the scan: it takes the compiler 10 to 80 ms
	make  func(n int) []byte
	// heavy: what the scan refuses is large, and takes the bare engine more than 64 MiB. None is among our modules.
	heavy bool
}

// justBeyond is the smallest module of a family, to within a twentieth, that the scan refuses: the engine could still
// compile it, in a fraction of a second. It begins with one of size n, which passes.
func justBeyond(n int, family func(n int) []byte) []byte {
	for {
		module := family(n)
		l := &layout{exports: map[string]extern{}}
		if l.sections(module, defaultMemoryPages) != nil {
			return module
		}
		n += max(1, n/20)
	}
}

// blowups has a family for each term of the estimate, without which the larger one would pass.
func blowups() map[string]blowup {
	return map[string]blowup{
		"loops in loops":   {taken: 60, make: loopsInLoops},
		"locals and loops": {taken: 200, make: func(n int) []byte { return liveLocals(n, 100) }},
		"blocks in blocks": {taken: 2500,
			make: func(n int) []byte { return scoring(cat(times(n, 0x02, 0x40), times(n, 0x0b))) }},
		"a row of ifs": {taken: 1500,
			make: func(n int) []byte { return scoring(times(n, 0x20, 0, 0x04, 0x40, 0x0b)) }},
		"a row of exits": {taken: 1200,
			make: func(n int) []byte { return scoring(cat([]byte{0x02, 0x40}, times(n, 0x20, 0, 0x0d, 0), []byte{0x0b})) }},
		"a row of rounds":     {taken: 100, make: rounds},
		"reads far from sets": {taken: 100, make: farReads},
		"reads behind exits":  {taken: 10, make: readsBehindExits},
		"branch targets": {taken: 6000,
			make: func(n int) []byte { return scoring(cat([]byte{0x02, 0x40}, branchTable(n), []byte{0x0b})) }},
		"values and ifs":      {taken: 150, make: valuesAndIfs},
		"addresses and exits": {taken: 300, make: addressesAndExits},
		"locals set in an if": {taken: 1000, make: setInIf},
		"globals and calls":   {taken: 100, make: globalsAndCalls, heavy: true},
		"globals, functions":  {taken: 500, make: globalsAndFunctions},
		"filled memory":       {taken: 50, make: filledMemory},
		"indirect calls":      {taken: 2000, make: indirectCalls},
		"values through calls": {taken: 800, make: func(n int) []byte {
			return sixteen(func(typ byte) []byte { return times(n, 0x20, 0, 0x11, typ, 0) })
		}},
		"values through blocks": {taken: 500, make: func(n int) []byte {
			return sixteen(func(typ byte) []byte { return times(n, 0x02, typ, 0x20, 0, 0x0d, 0, 0x0b) })
		}},
		"truncations": {taken: 2000, make: func(n int) []byte { return storing(times(n, 0xb7, 0xaa)) }, heavy: true},
		"divisions":   {taken: 4000, make: func(n int) []byte { return storing(times(n, 0x20, 0, 0x6d)) }, heavy: true},
		"addresses":   {taken: 4000, make: func(n int) []byte { return storing(times(n, 0x28, 2, 0)) }, heavy: true},
	}
}

// What is left out of the modules that are tried is refused all the same.
func TestHeavyBlowups(t *testing.T) {
	for name, b := range blowups() {
		if !b.heavy {
			continue
		}
		_, err := scan(justBeyond(b.taken, b.make), defaultMemoryPages)
		var refused *LoadError
		if !errors.As(err, &refused) || refused.Reason != TooComplex {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func times(n int, code ...byte) []byte { return bytes.Repeat(code, n) }

func localsI32(n int) []byte { return vec(cat(uleb(n), []byte{wasm.I32})) }

func scoringWith(locals []byte, code ...[]byte) []byte {
	return tiny(func(g *guestParts) { g.locals, g.score = locals, cat(cat(code...), returnN) })
}

// storing stores what code makes of a value.
func storing(code []byte) []byte {
	return scoring(cat([]byte{0x20, 2, 0x20, 0}, code, []byte{0x36, 2, 0}))
}

// readAll reads local 3 and those behind it.
func readAll(n int) (code []byte) {
	for i := range n {
		code = cat(code, []byte{0x20, 2, 0x20}, uleb(3+i), []byte{0x36, 2, 0})
	}
	return code
}

// loopsInLoops has n loops within each other, each with a local of its own.
func loopsInLoops(n int) []byte {
	var in, out []byte
	for i := range n {
		x := uleb(3 + i)
		in = cat(in, []byte{0x03, 0x40, 0x20}, x, []byte{0x41, 1, 0x6a, 0x21}, x)
		out = cat(out, []byte{0x20}, x, []byte{0x0d, 0, 0x0b})
	}
	return scoringWith(localsI32(n), in, out)
}

// rounds jumps back to one loop n times, and reads many locals behind it.
func rounds(n int) []byte {
	const locals = 100
	return scoringWith(localsI32(locals), []byte{0x03, 0x40}, times(n, 0x20, 0, 0x0d, 0), []byte{0x0b}, readAll(locals))
}

// farReads reads a local n times that was set 1500 blocks before.
func farReads(n int) []byte {
	return scoringWith(oneLocal, []byte{0x02, 0x40}, times(1500, 0x20, 3, 0x0d, 0), times(n, 0x20, 0, 0x1a), []byte{0x0b})
}

// readsBehindExits reads n locals where 1000 jumps meet, each from further behind than the last.
func readsBehindExits(n int) []byte {
	return scoringWith(localsI32(n), []byte{0x02, 0x40}, times(1000, 0x20, 3, 0x0d, 0), []byte{0x0b}, readAll(n))
}

func branchTable(n int) []byte {
	return cat([]byte{0x20, 0, 0x0e}, uleb(n), make([]byte, n+1))
}

// valuesAndIfs has n values on the stack while 500 ifs come and go.
func valuesAndIfs(n int) []byte {
	one := []byte{0x20, 3, 0x20, 1, 0x6a, 0x22, 3, 0x28, 2, 0}
	return scoringWith(oneLocal, []byte{0x20, 2}, bytes.Repeat(one, n), times(500, 0x20, 0, 0x04, 0x40, 0x10, 0, 0x0b),
		times(n-1, 0x6a), []byte{0x36, 2, 0})
}

// addressesAndExits reads at n addresses that are known from then on in each of 1000 blocks.
func addressesAndExits(n int) []byte {
	return scoring(cat([]byte{0x02, 0x40, 0x20, 0}, times(n, 0x28, 2, 0), []byte{0x1a}, times(1000, 0x20, 0, 0x0d, 0),
		[]byte{0x0b}))
}

func setInIf(n int) []byte {
	n = min(n, maxLocals)
	var set []byte
	for i := range n {
		set = cat(set, []byte{0x41, 1, 0x21}, uleb(3+i))
	}
	return scoringWith(localsI32(n), []byte{0x20, 0, 0x04, 0x40}, set, []byte{0x0b, 0x20, 0, 0x04, 0x40}, set,
		[]byte{0x0b}, readAll(n))
}

// globalsAndCalls makes 2000 calls, after each of which n globals may have changed.
func globalsAndCalls(n int) []byte {
	return manyGlobals(n, 1, body(noLocals, times(2000, 0x10, 0)), 1)
}

func globalsAndFunctions(n int) []byte { return manyGlobals(maxGlobals, 0, body(noLocals), n) }

func manyGlobals(n int, mutable byte, code []byte, functions int) []byte {
	global := []byte{wasm.I32, mutable, wasm.OpI32Const, 0, wasm.OpEnd}
	return moduleOf(guestTypeSection(), rawSection(wasm.SecFunction, cat(uleb(functions), make([]byte, functions))),
		rawSection(wasm.SecGlobal, cat(uleb(n), bytes.Repeat(global, n))),
		rawSection(wasm.SecCode, cat(uleb(functions), bytes.Repeat(code, functions))))
}

// filledMemory fills memory n times; each is a loop to the compiler.
func filledMemory(n int) []byte {
	const locals = 500
	return scoringWith(localsI32(locals), times(n, 0x20, 2, 0x41, 0, 0x41, 0, 0xfc, 11, 0), readAll(locals))
}

func indirectCalls(n int) []byte {
	return tiny(func(g *guestParts) {
		g.table = []byte{wasm.Funcref, 0, 1}
		g.score = cat([]byte{0x20, 1}, times(n, 0x20, 0, 0x11, typeAlloc, 0), []byte{0x1a}, returnN)
	})
}

// sixteen runs code with sixteen values on the stack, and a type that takes and gives them.
func sixteen(code func(typ byte) []byte) []byte {
	return tiny(func(g *guestParts) {
		g.types = [][]byte{funcType(strings.Repeat(i32, 16), strings.Repeat(i32, 16))}
		g.table = []byte{wasm.Funcref, 0, 1}
		g.score = cat(times(16, 0x20, 0), code(byte(len(guestTypes))), times(16, 0x1a), returnN)
	})
}

// refusedBlowups are those that are too large. They are made once: looking for them takes a second.
var refusedBlowups = sync.OnceValue(func() map[string]hostile {
	all := map[string]hostile{}
	for name, b := range blowups() {
		if b.heavy {
			continue
		}
		all["blow-up: "+name] = hostile{justBeyond(b.taken, b.make), TooComplex, "would take about"}
	}
	return all
})

// Each family passes the scan as long as it is small, and what passes can be compiled.
func TestSmallBlowups(t *testing.T) {
	if slow > 1 {
		t.Skip("one goroutine compiles, for a minute with a race detector")
	}
	h := newHost(t, Options{})
	for name, b := range blowups() {
		module := b.make(b.taken)
		l := &layout{exports: map[string]extern{}}
		if err := l.sections(module, defaultMemoryPages); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		compileMetered(t, h, module)
		t.Logf("%-22s %6d bytes, estimated at %d ms", name, len(module), l.effort/milli)
	}
}

func compileMetered(t testing.TB, h *Host, module []byte) {
	t.Helper()
	metered, err := meter.Instrument(module)
	if err != nil {
		t.Fatal(err)
	}
	e, err := h.compile(context.Background(), metered, "")
	if err != nil {
		t.Fatal(err)
	}
	e.close(context.Background())
}

// What honest policies take is far from what they may.
func TestHonestEffort(t *testing.T) {
	honest := map[string][]byte{"default": Default(), "Go": buildChatty(t)}
	files, err := filepath.Glob("../examples/policies/*/*.wasm")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		module, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		honest[filepath.Base(f)] = module
	}
	for _, name := range slices.Sorted(maps.Keys(honest)) {
		l, err := scan(honest[name], defaultMemoryPages)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		most := baseEffort + effortPerByte*l.live
		t.Logf("%-24s %4d ms of %5d, %4d ns a byte", name, l.effort/milli, most/milli, l.effort/l.live)
		if l.effort*3/2 > most {
			t.Errorf("%s: estimated at %d ms, the most is %d", name, l.effort/milli, most/milli)
		}
	}
}

// BenchmarkEffort compiles what passes the scan, and compares that with the estimate.
func BenchmarkEffort(b *testing.B) {
	h := newHost(b, Options{})
	families := blowups()
	for _, name := range slices.Sorted(maps.Keys(families)) {
		module := families[name].make(families[name].taken)
		l := &layout{exports: map[string]extern{}}
		if err := l.sections(module, defaultMemoryPages); err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				compileMetered(b, h, module)
			}
			b.ReportMetric(float64(l.effort)*float64(b.N)/float64(b.Elapsed()), "estimated/taken")
		})
	}
}
