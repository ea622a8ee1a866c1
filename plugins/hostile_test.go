package plugins

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/datanode/datanode/plugins/internal/wasm"
	"github.com/datanode/datanode/policies"
)

// hostile is a module that means harm, and what it must be refused for.
type hostile struct {
	module []byte
	reason LoadReason
	detail string
}

// Code of a few loops without end.
var (
	loopForever = []byte{wasm.OpLoop, wasm.BlockEmpty, wasm.OpBr, 0, wasm.OpEnd}
	growForever = []byte{wasm.OpLoop, wasm.BlockEmpty, 0x41, 1, wasm.OpMemoryGrow, 0, wasm.OpDrop, wasm.OpBr, 0,
		wasm.OpEnd}
	growTable = []byte{wasm.OpRefNull, 0x70, 0x41, 1, wasm.OpMisc, 15, 0, wasm.OpDrop}
	// storePriority stores what is on the stack as the first priority.
	storePriority = []byte{0x21, 3, 0x20, 2, 0x20, 3, 0x36, 2, 0}
)

// storeClock stores what is at address 8 as all priorities.
var storeClock = []byte{
	wasm.OpLoop, wasm.BlockEmpty,
	0x20, 2, 0x20, 3, 0x41, 3, 0x74, 0x6a, 0x41, 8, 0x28, 2, 0, 0x36, 2, 0, // out+i*8 = mem[8]
	0x20, 3, 0x41, 1, 0x6a, 0x22, 3, 0x20, 1, 0x49, wasm.OpBrIf, 0, wasm.OpEnd, // while ++i < n
}

// hostiles are the modules that the gate is for. Every bound of the scan has one among refusals.
func hostiles() map[string]hostile {
	all := hidden()
	maps.Copy(all, refusals())
	maps.Copy(all, map[string]hostile{
		"a local too many": {aLocalTooMany(), TooManyLocals, "8193 locals"},
		"live locals": {justBeyond(100, func(n int) []byte { return liveLocals(200, n) }), TooComplex,
			"function 3 would take"},
		"an element too many": {tiny(func(g *guestParts) { g.table = cat([]byte{0x70, 0}, uleb(maxTableElements+1)) }),
			TableTooLarge, "65537 elements"},
		"table.grow": {scoring(growTable), ForbiddenInstruction, "table.grow"},
		"a start function": {tiny(func(g *guestParts) { g.extra = [][]byte{rawSection(wasm.SecStart, uleb(0))} }),
			StartSection, "_initialize"},
		"two meters": {tiny(func(g *guestParts) { g.exports = [][]byte{export("datanode_meter_v1", 3, 0)} }),
			AlreadyMetered, ""},

		"memory.grow in a loop": {
			tiny(func(g *guestParts) { g.memory, g.score = []byte{1, 2, 16}, cat(growForever, returnN) }), TooSlow,
			"policy_score: overrun"},
		"a loop in score": {scoring(loopForever), TooSlow, "policy_score: overrun"},
		"a loop in conflict": {tiny(func(g *guestParts) { g.conflict = cat(loopForever, returnN) }), TooSlow,
			"policy_conflict: overrun"},
		"a loop in _initialize": {tiny(func(g *guestParts) { g.initialize = loopForever }), TooSlow,
			"_initialize: overrun"},
		"a loop in alloc": {tiny(func(g *guestParts) { g.alloc = cat(loopForever, bump) }), TooSlow,
			"policy_alloc: overrun"},
		"a loop in describe": {tiny(func(g *guestParts) { g.beforeDescribe = loopForever }), TooSlow,
			"policy_describe: overrun"},
		"recursion": {scoring([]byte{0x20, 0, 0x20, 1, 0x20, 2, wasm.OpCall, 3, wasm.OpDrop}), TooSlow,
			"policy_score: overrun"},
		"recursion in _initialize": {tiny(func(g *guestParts) { g.initialize = []byte{wasm.OpCall, 5} }), TooDeep,
			"_initialize: stack"},

		"a verdict that is none": {
			tiny(func(g *guestParts) { g.conflict = cat(waitAlways, []byte{0x20, 2, 0x41, 9, 0x3a, 0, 0}, returnN) }),
			WrongAnswer, "verdict 9"},
		"padding": {scoring([]byte{0x20, 2, 0x41, 1, 0x3a, 0, 7}), WrongAnswer, "bytes 6 and 7"},
		"one answer less": {tiny(func(g *guestParts) { g.score = []byte{0x20, 1, 0x41, 1, 0x6b} }), WrongCount,
			"71 answers, want 72"},
		"a far away batch": {tiny(func(g *guestParts) { g.alloc = []byte{0x41, 0x78} }), WrongPointer, "0xfffffff8"},
		"describe outside": {tiny(func(g *guestParts) {
			g.beforeDescribe = cat([]byte{wasm.OpI64Const}, sleb(0x7fffffff<<32|100), []byte{wasm.OpReturn})
		}),
			WrongPointer, "outside memory"},
		"store outside": {scoring([]byte{0x41, 0x7c, 0x41, 1, 0x36, 2, 0}), SelfTestFailed, "out of bounds"},
	})
	return all
}

// hidden are those whose answers depend on more than what they are asked.
func hidden() map[string]hostile {
	return map[string]hostile{
		"a counter in a global": {scoring(cat([]byte{0x23, 0, 0x41, 8, 0x6a, 0x24, 0, 0x23, 0}, storePriority)), HiddenState,
			"sample"},
		"a counter in memory": {
			scoring(cat([]byte{0x41, 8, 0x41, 8, 0x28, 2, 0, 0x41, 1, 0x6a, 0x36, 2, 0, 0x41, 8, 0x28, 2, 0}, storePriority)),
			HiddenState, "sample"},
		"by the clock": {tiny(func(g *guestParts) {
			g.types = [][]byte{funcType(i32+i64+i32, i32)}
			g.imports = [][]byte{importFunc(moduleWASI, "clock_time_get", len(guestTypes))}
			g.score = cat([]byte{0x41, 0, wasm.OpI64Const, 0, 0x41, 8, wasm.OpCall, 0, wasm.OpDrop}, storeClock, returnN)
		}), HiddenState, "sample"},
		"by random": {tiny(func(g *guestParts) {
			g.types = [][]byte{funcType(i32+i32, i32)}
			g.imports = [][]byte{importFunc(moduleWASI, "random_get", len(guestTypes))}
			g.score = cat([]byte{0x41, 8, 0x41, 4, wasm.OpCall, 0, wasm.OpDrop, 0x41, 8, 0x28, 2, 0}, storePriority, returnN)
		}), HiddenState, "sample"},
		"by the size of memory": {scoring(cat([]byte{0x41, 1, wasm.OpMemoryGrow, 0, wasm.OpDrop, wasm.OpMemorySize, 0},
			storePriority)), HiddenState, "sample"},
		"by the first of a batch": {scoring(cat([]byte{0x20, 1, 0x41, 1, 0x4b, 0x20, 0, 0x2d, 0}, uleb(headerBytes+56),
			[]byte{0x41, 1, 0x47, 0x71}, storePriority)), HiddenState, "sample"},
		"by the place in a batch": {scoring(cat([]byte{0x20, 1, 0x41, 1, 0x46}, storePriority)), HiddenState, "sample"},
		"random by the megabyte": {tiny(func(g *guestParts) {
			g.types = [][]byte{funcType(i32+i32, i32)}
			g.imports = [][]byte{importFunc(moduleWASI, "random_get", len(guestTypes))}
			g.score = cat([]byte{wasm.OpLoop, wasm.BlockEmpty, 0x41, 8, 0x41, 0x80, 0x80, 0x04, wasm.OpCall, 0, wasm.OpDrop,
				wasm.OpBr, 0, wasm.OpEnd}, returnN)
		}), TooSlow, "policy_score: overrun"},
	}
}

// scoring is a module that runs code before it answers.
func scoring(code []byte) []byte {
	return tiny(func(g *guestParts) { g.score = cat(code, returnN) })
}

// aLocalTooMany has one function with as many locals as none may have, in as few bytes as that takes.
func aLocalTooMany() []byte {
	return moduleOf(section(wasm.SecType, funcType("", "")), section(wasm.SecFunction, uleb(0)),
		section(wasm.SecCode, body(vec(cat(uleb(maxLocals+1), []byte{0x7f})))))
}

// liveLocals scores with n locals that stay alive through a row of loops.
func liveLocals(n, loops int) []byte {
	var code []byte
	for i := range loops {
		x := uleb(3 + i%n)
		code = cat(code, []byte{wasm.OpLoop, wasm.BlockEmpty, 0x20}, x, []byte{0x41, 1, 0x6a, 0x21}, x, []byte{0x20}, x,
			[]byte{wasm.OpBrIf, 0, wasm.OpEnd})
	}
	for i := range n {
		code = cat(code, []byte{0x20, 2, 0x20}, uleb(3+i), []byte{0x36, 2, 0})
	}
	return tiny(func(g *guestParts) { g.locals, g.score = vec(cat(uleb(n), []byte{0x7f})), cat(code, returnN) })
}

func checkRefused(t *testing.T, err error, want hostile) {
	t.Helper()
	var refused *LoadError
	if !errors.As(err, &refused) {
		t.Fatalf("%T %v, want a *LoadError", err, err)
	}
	if refused.Reason != want.reason || !strings.Contains(refused.Detail, want.detail) {
		t.Errorf("%v\nwant %s: ...%s...", refused, want.reason, want.detail)
	}
	if strings.ContainsAny(refused.Error(), "\n\x1b") {
		t.Errorf("not one clean line: %q", refused)
	}
}

// Each hostile module is refused for its own reason, by a child as by this process.
func TestHostileModules(t *testing.T) {
	// On a busy machine there is time to come to the reason: the budget ends what loops, not the wall clock.
	for where, h := range map[string]*Host{
		"child":        newParent(t, Options{ChildTime: 5 * time.Second, Timeout: time.Minute}),
		"this process": newHost(t, Options{Timeout: time.Minute}),
	} {
		for name, want := range hostiles() {
			t.Run(where+"/"+name, func(t *testing.T) {
				began := time.Now()
				_, err := h.Check(t.Context(), want.module)
				t.Logf("%.1f ms: %v", time.Since(began).Seconds()*1000, err)
				checkRefused(t, err, want)
			})
		}
	}
}

// What the scan lets pass and takes more of the processor than it may ends with the child's time.
func TestChildTime(t *testing.T) {
	h := newHost(t, Options{Child: childCommand(t)})
	h.limits = func(p *prepared) limits {
		l := h.opts.limitsFor(p)
		l.Processor = 400 * time.Millisecond
		return l
	}
	_, err := h.Check(t.Context(), buildChatty(t))
	checkRefused(t, err, hostile{nil, CompileTime, "takes more than 400ms"})
}

// What needs more memory than the child may have ends the child.
func TestChildMemory(t *testing.T) {
	if runtime.GOOS != "linux" || slow > 1 {
		t.Skip("no limits on this system, or a race detector that dies of them in its own way")
	}
	h := newParent(t, Options{})
	h.limits = func(p *prepared) limits {
		l := h.opts.limitsFor(p)
		l.Data = 48 * mib
		return l
	}
	_, err := h.Check(t.Context(), buildChatty(t))
	checkRefused(t, err, hostile{nil, CompileMemory, "takes more than 48 MiB"})
	if _, err := h.Check(t.Context(), tiny(nil)); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

// While a module is compiled that takes its time, others answer.
func TestOthersAnswerMeanwhile(t *testing.T) {
	h := newParent(t, Options{})
	m := compile(t, h, tiny(nil))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	large := buildChatty(t)
	go func() {
		_, err := h.Check(ctx, large)
		done <- err
	}()
	for len(h.compiling) == 0 && len(done) == 0 { // until the other one is at it
		if err := askBoth(m, 1); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		if err := askBoth(m, 1); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that it was still compiled when it was cancelled", err)
	}
}

// A module that is cut anywhere is refused.
func TestCutModules(t *testing.T) {
	h := newHost(t, Options{})
	whole := Default()
	for n := range len(whole) {
		_, err := h.Check(t.Context(), whole[:n])
		if refused := (*LoadError)(nil); !errors.As(err, &refused) {
			t.Fatalf("the first %d of %d bytes: %v", n, len(whole), err)
		}
	}
}

// A damaged module is refused, or harmless: then it answers within its budget, or fails, and that is all.
func TestDamagedModules(t *testing.T) {
	const seed = 7
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, seed))
	h := newHost(t, Options{MemoryPages: 16, Budget: policies.Budget{Batch: 1 << 20, Start: 1 << 22}})
	accepted := 0
	for n := range 300 {
		module := [][]byte{Default(), tiny(nil)}[n%2]
		for range 1 + random.IntN(3) {
			module[8+random.IntN(len(module)-8)] = byte(random.Uint32())
		}
		m, err := h.Compile(t.Context(), module)
		if refused := (*LoadError)(nil); err != nil && !errors.As(err, &refused) {
			t.Fatalf("%x: %v", module, err)
		}
		if err == nil {
			accepted++
			_ = askBoth(m, magicQueued) // any answer will do
			if err := m.Close(t.Context()); err != nil {
				t.Fatalf("%x: %v", module, err)
			}
		}
	}
	if accepted == 0 || accepted == 300 {
		t.Errorf("%d of 300 damaged modules were accepted", accepted)
	}
}

// FuzzLoad puts anything through the whole gate. Whatever passes answers in order, or fails in order.
func FuzzLoad(f *testing.F) {
	for _, h := range hostiles() {
		if len(h.module) < 1<<16 {
			f.Add(h.module)
		}
	}
	f.Add(tiny(nil))
	f.Add(Default())
	h, err := New(context.Background(), Options{MemoryPages: 16, Budget: policies.Budget{Batch: 1 << 20, Start: 1 << 22}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = h.Close(context.Background()) })
	f.Fuzz(func(t *testing.T, module []byte) {
		m, err := h.Compile(t.Context(), module)
		if err != nil {
			if refused := (*LoadError)(nil); !errors.As(err, &refused) {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		facts := sampleFacts()
		first, again := make([]policies.Score, len(facts)), make([]policies.Score, len(facts))
		if _, err := m.Score(t.Context(), facts, first); err == nil {
			if _, err := m.Score(t.Context(), facts, again); err == nil && fmt.Sprint(first) != fmt.Sprint(again) {
				t.Error("it passed the gate and answers as it likes")
			}
		}
		if err := m.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
