package meter_test

import (
	"testing"

	"github.com/datanode/datanode/plugins/meter"
	"pgregory.net/rapid"
)

// Random programs: a few functions of (i32, i32) -> i32 over two more locals, a memory and two
// globals. Function k calls only those above it, and every loop counts down the fuel in global 0, so
// that they end. Global 1 counts the statements that ran: no call may cost less.
const (
	randomFuncs = 3
	fuelGlobal  = 0
	tickGlobal  = 1
	randomFuel  = 300
)

type program struct {
	*rapid.T
	function int
	depth    int // of blocks that are open, the function's included
	budget   int // statements that may still be written
}

func randomModule(t *rapid.T) []byte {
	bodies := make([][]byte, randomFuncs)
	for k := range bodies {
		p := &program{t, k, 1, 40}
		bodies[k] = body(i32+i32, p.statements(), p.value())
	}
	types := make([][]byte, randomFuncs)
	for k := range types {
		types[k] = uleb(0)
	}
	var table []byte
	for k := range randomFuncs {
		table = append(table, uleb(k)...)
	}
	return wasm(
		section(1, funcType(i32+i32, i32), funcType(i32, i32)),
		section(3, types...),
		section(4, []byte{0x70, 0, randomFuncs}),
		section(5, []byte{0, 1}),
		section(6, cat([]byte{0x7f, 1, 0x41}, sleb(randomFuel), []byte{0x0b}), []byte{0x7e, 1, 0x42, 0, 0x0b}),
		section(7, export("run", 0, 0), export("memory", 2, 0), export("ticks", 3, tickGlobal)),
		section(9, cat([]byte{0, 0x41, 0, 0x0b, randomFuncs}, table)),
		section(10, bodies...),
	)
}

func (p *program) pick(n int, label string) int { return rapid.IntRange(0, n-1).Draw(p.T, label) }

func (p *program) statements() []byte {
	var out []byte
	for range p.pick(4, "statements") {
		out = append(out, p.statement()...)
	}
	return out
}

var tick = []byte{0x23, tickGlobal, 0x42, 1, 0x7c, 0x24, tickGlobal}

func (p *program) statement() []byte {
	if p.budget--; p.budget < 0 {
		return nil
	}
	local := byte(p.pick(4, "local"))
	switch p.pick(12, "statement") {
	case 0, 1:
		return cat(tick, p.value(), []byte{0x21, local})
	case 2:
		return cat(tick, p.address(), p.value(), []byte{0x36, 0, 0})
	case 3, 4:
		return cat(tick, p.block(0x02))
	case 5, 6:
		return cat(tick, p.loop())
	case 7:
		return cat(tick, p.value(), p.block(0x04))
	case 8:
		return cat(tick, p.branch())
	case 9:
		return cat(tick, p.bulk())
	case 10:
		return cat(tick, p.table())
	default:
		return cat(tick, p.value(), []byte{0x04, 0x40}, p.value(), []byte{0x0f, 0x0b}) // maybe return
	}
}

func (p *program) block(op byte) []byte {
	p.depth++
	defer func() { p.depth-- }()
	inner := p.statements()
	if op == 0x04 && p.pick(2, "else") == 0 {
		inner = cat(inner, []byte{0x05}, p.statements())
	}
	return cat([]byte{op, 0x40}, inner, []byte{0x0b})
}

// loop goes round while there is fuel and its condition holds.
func (p *program) loop() []byte {
	p.depth++
	inner := p.statements()
	p.depth--
	burn := []byte{0x23, fuelGlobal, 0x41, 1, 0x6b, 0x24, fuelGlobal} // fuel--
	again := cat(p.value(), fuelled, []byte{0x0d, 0})
	return cat([]byte{0x03, 0x40}, tick, burn, inner, again, []byte{0x0b})
}

// fuelled makes a condition depend on fuel too.
var fuelled = []byte{0x23, fuelGlobal, 0x41, 0, 0x4a, 0x71}

// branch may go to any label that takes no value, and so not to the function's. Those of loops go
// back: that takes fuel.
func (p *program) branch() []byte {
	if p.depth == 1 {
		return nil
	}
	return cat(p.value(), fuelled, []byte{0x0d}, uleb(p.pick(p.depth-1, "label")))
}

func (p *program) bulk() []byte {
	n := cat([]byte{0x41}, sleb(int64(p.pick(5000, "length"))))
	if p.pick(2, "bulk") == 0 {
		return cat(p.address(), p.value(), n, []byte{0xfc, 11, 0})
	}
	return cat(p.address(), p.address(), n, []byte{0xfc, 10, 0, 0})
}

func (p *program) table() []byte {
	p.depth++
	inner := p.statements()
	p.depth--
	return cat([]byte{0x02, 0x40, 0x02, 0x40}, p.value(), []byte{0x0e, 2, 0, 1, 1, 0x0b}, inner, []byte{0x0b})
}

func (p *program) address() []byte { return cat(p.value(), []byte{0x41, 0xff, 0x1f, 0x71}) } // below 4096

func (p *program) value() []byte {
	switch n := p.pick(9, "value"); {
	case n < 3:
		return []byte{0x20, byte(p.pick(4, "local"))}
	case n < 5:
		return cat([]byte{0x41}, sleb(int64(rapid.Int32Range(-9, 9).Draw(p.T, "constant"))))
	case n == 5:
		op := rapid.SampledFrom([]byte{0x6a, 0x6b, 0x6c, 0x6e, 0x71, 0x73, 0x48, 0x74}).Draw(p.T, "operator")
		return cat(p.leaf(), p.leaf(), []byte{op}) // 0x6e may trap
	case n == 6:
		return cat(p.leaf(), []byte{0x41, 0xff, 0x1f, 0x71, 0x28, 0, 0})
	case n == 7 && p.function+1 < randomFuncs:
		callee := p.function + 1 + p.pick(randomFuncs-p.function-1, "callee")
		if p.pick(2, "direct") == 0 {
			return cat(p.leaf(), p.leaf(), []byte{0x10, byte(callee)})
		}
		return cat(p.leaf(), p.leaf(), []byte{0x41, byte(callee), 0x11, 0, 0})
	default:
		return []byte{0x3f, 0}
	}
}

func (p *program) leaf() []byte { return []byte{0x20, byte(p.pick(4, "local"))} }

// A random program does the same once it is metered, costs the same in both engines, and never less
// than the statements that ran.
func TestRandomPrograms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		code := randomModule(t)
		a, b := rapid.Uint32().Draw(t, "a"), rapid.Uint32().Draw(t, "b")
		cost, difference := differs(t, code, []uint64{uint64(a), uint64(b)})
		if difference != "" {
			t.Fatal(difference)
		}
		if ran := ticksOf(t, code, uint64(a), uint64(b)); cost < ran {
			t.Fatalf("it cost %d, but %d statements ran", cost, ran)
		}
		checkBudgets(t, code, cost, uint64(a), uint64(b))
	})
}

func ticksOf(t *rapid.T, code []byte, args ...uint64) int64 {
	i := newInstance(t, engines()["interpreter"], code)
	defer i.close()
	i.run(0, args...)
	return int64(i.module.ExportedGlobal("ticks").Get())
}

// checkBudgets runs a program with too little: it must stop, at the same point in both engines.
func checkBudgets(t *rapid.T, code []byte, cost int64, args ...uint64) {
	metered, err := meter.Instrument(code)
	if err != nil {
		t.Fatal(err)
	}
	short := rapid.Int64Range(0, cost-1).Draw(t, "budget")
	var seen []outcome
	for _, c := range engines() {
		i := newInstance(t, c, metered)
		seen = append(seen, i.run(short, args...))
		i.close()
	}
	if !seen[0].same(seen[1]) || seen[0].left != seen[1].left || seen[0].left >= 0 {
		t.Fatalf("with a budget of %d of %d: %+v in one engine, %+v in the other", short, cost, seen[0], seen[1])
	}
}
