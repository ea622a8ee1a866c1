package plugins

import (
	"bytes"
	"errors"
	"flag"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/datanode/datanode/plugins/internal/wasm"
)

var (
	structures     = flag.Int("structures", 40, "how many random modules that pass the scan are compiled")
	structuresSeed = flag.Uint64("structures-seed", 1, "the first of their seeds")
)

// Whatever passes the scan can be compiled with the time and memory that the scan says it needs,
// however it is put together. A search of some minutes (-structures 5000) is how the estimate's terms
// were found; it says what took the most.
func TestRandomStructures(t *testing.T) {
	if slow > 1 {
		t.Skip("a race detector takes more time than a child has")
	}
	h := newHost(t, Options{Child: childCommand(t)})
	refused, small, tried, outcomes := 0, 0, 0, map[LoadReason]int{}
	for seed := *structuresSeed; tried < *structures; seed++ {
		module := structure(seed)
		p, err := h.prepare(module)
		if err != nil {
			refused++
			continue
		}
		if p.layout.effort < 10*milli {
			small++
			continue
		}
		tried++
		_, err = h.Check(t.Context(), module)
		var reason *LoadError
		if err != nil && !errors.As(err, &reason) {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if reason != nil {
			outcomes[reason.Reason]++
		}
		if reason != nil && slices.Contains([]LoadReason{CompileTime, CompileMemory, CompilerCrashed}, reason.Reason) {
			t.Errorf("seed %d, %d bytes, estimated at %d ms: %v", seed, len(module), p.layout.effort/milli, err)
		}
	}
	t.Logf("from seed %d on: %d compiled, %d refused, %d too small to matter; then %v", *structuresSeed, tried, refused,
		small, outcomes)
	if *structures > 0 && (refused == 0 || outcomes[NotCompiled] > 0) {
		t.Errorf("%d refused and %d not valid, want some that are too complex, and none that is not valid", refused,
			outcomes[NotCompiled])
	}
}

// builder writes the code of one function at random: structures within each other, and repeated, on a
// few locals or many. All values are i32, and the code is valid.
type builder struct {
	random *rand.Rand
	code   []byte
	labels int // that a jump may go to, none of which takes a value
	locals int
	most   int // bytes
	next   int // local, where not the same are used again and again
}

const structureDepth = 12

func structure(seed uint64) []byte {
	b := &builder{random: rand.New(rand.NewPCG(seed, seed))}
	b.locals, b.most = 1+b.size(3000), 1000+b.size(80_000)
	for range 3 {
		b.several(0)
	}
	return tiny(func(g *guestParts) {
		g.table = []byte{wasm.Funcref, 0, 10}
		g.types = [][]byte{funcType(strings.Repeat(i32, 8), strings.Repeat(i32, 8))}
		g.locals, g.score = localsI32(b.locals), cat(b.code, returnN)
	})
}

// size is small mostly, and seldom large.
func (b *builder) size(most float64) int { return int(math.Exp(b.random.Float64() * math.Log(most+1))) }

func (b *builder) add(code ...byte) { b.code = append(b.code, code...) }

func (b *builder) full() bool { return len(b.code) > b.most }

func (b *builder) local(op byte) {
	i := b.random.IntN(3 + b.locals)
	if b.next > 0 && b.random.IntN(2) == 0 {
		b.next++
		i = 3 + b.next%b.locals
	}
	b.add(cat([]byte{op}, uleb(i))...)
}

// value leaves one on the stack.
func (b *builder) value() {
	b.local(wasm.OpLocalGet)
	b.add([][]byte{
		{}, {}, {}, {}, {0x41, 3, 0x6a}, {0x28, 2, 0}, {0x41, 9, 0x6d}, {0xb7, 0xaa}, {0x25, 0, 0xd1}, {0x23, 0, 0x6a},
		{0xb7, 0x9f, 0xab},
	}[b.random.IntN(11)]...)
}

// use takes one from the stack.
func (b *builder) use() {
	b.local(wasm.OpLocalTee)
	b.add([][]byte{{0x1a}, {0x24, 0}, {0x21, 3, 0x20, 2, 0x20, 3, 0x36, 2, 0}}[b.random.IntN(3)]...)
}

func (b *builder) several(depth int) {
	for range 1 + b.random.IntN(4) {
		if !b.full() {
			b.structure(depth)
		}
	}
}

// structure is one of all kinds. The operand stack is afterwards what it was before.
func (b *builder) structure(depth int) {
	if depth > structureDepth {
		b.value()
		b.use()
		return
	}
	kinds := []func(int){
		b.again, b.again, b.again, b.likewise, b.block, b.block, b.block, b.nest, b.across, b.jump, b.table, b.typed}
	if i := b.random.IntN(len(kinds) + 4); i < len(kinds) {
		kinds[i](depth + 1)
		return
	}
	b.plain()
}

// again is the same code many times.
func (b *builder) again(depth int) {
	from := len(b.code)
	b.structure(depth)
	once := slices.Clone(b.code[from:])
	n := min(b.size(3000), (b.most-len(b.code))/max(1, len(once)))
	b.add(bytes.Repeat(once, max(0, n))...)
}

// likewise is the same code many times, on other locals.
func (b *builder) likewise(depth int) {
	random, seed := b.random, b.random.Uint64()
	b.next++
	for range b.size(400) {
		b.random = rand.New(rand.NewPCG(seed, 1))
		if !b.full() {
			b.structure(depth)
		}
	}
	b.random = random
}

// open begins a block, a loop or an if.
func (b *builder) open(kind byte, typ byte) {
	if kind == wasm.OpIf {
		b.value()
	}
	b.add(kind, typ)
}

func (b *builder) kind() byte { return []byte{wasm.OpBlock, wasm.OpLoop, wasm.OpIf}[b.random.IntN(3)] }

func (b *builder) block(depth int) {
	kind := b.kind()
	b.open(kind, wasm.BlockEmpty)
	b.labels++
	b.several(depth)
	if kind == wasm.OpIf && b.random.IntN(2) == 0 {
		b.add(wasm.OpElse)
		b.several(depth)
	}
	for range b.size(3) - 1 {
		b.value()
		b.add(wasm.OpBrIf, 0)
	}
	b.labels--
	b.add(wasm.OpEnd)
}

// nest is many blocks within each other.
func (b *builder) nest(depth int) {
	kind, n := b.kind(), b.size(600)
	if kind == wasm.OpLoop {
		n = min(n, 150)
	}
	for range n {
		b.open(kind, wasm.BlockEmpty)
	}
	b.labels += n
	b.several(depth)
	b.labels -= n
	for range n {
		if b.random.IntN(2) == 0 {
			b.value()
			b.use()
		}
		b.add(wasm.OpEnd)
	}
}

// across leaves many values on the stack, over all that is within.
func (b *builder) across(depth int) {
	n, labels := 1+b.size(800), b.labels
	for range n {
		b.value()
	}
	b.several(depth)
	b.labels = labels
	b.add(times(n-1, 0x6a)...)
	b.use()
}

func (b *builder) jump(int) {
	if b.labels > 0 {
		b.value()
		b.add(cat([]byte{wasm.OpBrIf}, uleb(b.random.IntN(b.labels)))...)
	}
}

func (b *builder) table(int) {
	n, spread := b.size(2000), 1+b.random.IntN(b.labels+1)
	b.add(wasm.OpBlock, wasm.BlockEmpty)
	b.value()
	b.add(cat([]byte{wasm.OpBrTable}, uleb(n))...)
	for range n + 1 {
		b.add(uleb(b.random.IntN(spread))...)
	}
	b.add(wasm.OpEnd)
}

// typed is a block that takes and gives eight values, and is left from many places.
func (b *builder) typed(depth int) {
	for range 8 {
		b.value()
	}
	b.open(b.kind(), byte(len(guestTypes)))
	for range b.size(60) {
		b.value()
		b.add(wasm.OpBrIf, 0)
	}
	labels := b.labels
	b.labels = 0 // all are one further out now
	b.several(depth)
	b.labels = labels
	b.add(wasm.OpEnd)
	for range 8 {
		b.use()
	}
}

func (b *builder) plain() {
	switch b.random.IntN(5) {
	case 0:
		b.value()
		b.add(wasm.OpCall, 1)
		b.use()
	case 1:
		b.value()
		b.value()
		b.add(wasm.OpCallIndirect, typeAlloc, 0)
		b.use()
	case 2:
		b.value()
		b.value()
		b.value()
		b.add([][]byte{{0xfc, 11, 0}, {0xfc, 10, 0, 0}}[b.random.IntN(2)]...)
	case 3:
		for i := range min(b.size(400), b.locals) {
			b.add(cat([]byte{0x41, 1, 0x21}, uleb(3+i))...)
		}
	case 4:
		b.add(readAll(min(b.size(400), b.locals))...)
	}
}
