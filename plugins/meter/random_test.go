package meter_test

import (
	"testing"

	"github.com/datanode/datanode/plugins/meter"
	"pgregory.net/rapid"
)

// Random programs: a few functions of (i32, i32) -> i32 over two more locals, a memory and two
// globals. Function k calls only those above it, and every branch back takes fuel from global 0, so
// that they end. Each program is written twice: once plain, and once counting in global 1 what
// metering should come to, from costs that are written down here once more.
const (
	randomFuncs = 4
	fuelGlobal  = 0
	countGlobal = 1
	randomFuel  = 300
)

// fragment is a piece of code in both versions, and what is to be paid for it at the last point before.
type fragment struct {
	plain, counting []byte
	cost            int64
}

// ins is one instruction, or several in a row.
func ins(cost int64, code ...byte) fragment { return fragment{code, code, cost} }

func join(parts ...fragment) fragment {
	var out fragment
	for _, p := range parts {
		out.plain = append(out.plain, p.plain...)
		out.counting = append(out.counting, p.counting...)
		out.cost += p.cost
	}
	return out
}

// charged is code that pays at a point of its own.
func charged(code fragment) fragment {
	count := cat([]byte{0x23, countGlobal, 0x42}, sleb(code.cost), []byte{0x7c, 0x24, countGlobal})
	return fragment{code.plain, cat(count, code.counting), 0}
}

type program struct {
	*rapid.T
	function int
	depth    int // of blocks that are open, the function's included
	budget   int // statements that may still be written
}

func randomModules(t *rapid.T) (plain, counting []byte) {
	var plainBodies, countingBodies, types, table [][]byte
	for k := range randomFuncs {
		p := &program{t, k, 1, 40}
		f := charged(join(ins(2+4), p.statements(), p.value(), ins(1)))
		plainBodies = append(plainBodies, body(i32+i32, f.plain))
		countingBodies = append(countingBodies, body(i32+i32, f.counting))
		types, table = append(types, uleb(0)), append(table, uleb(k))
	}
	module := func(bodies [][]byte) []byte {
		return wasm(
			section(1, funcType(i32+i32, i32), funcType(i32, i32)),
			section(3, types...),
			section(4, []byte{0x70, 0, randomFuncs}),
			section(5, []byte{0, 1}),
			section(6, cat([]byte{0x7f, 1, 0x41}, sleb(randomFuel), []byte{0x0b}), []byte{0x7e, 1, 0x42, 0, 0x0b}),
			section(7, export("run", 0, 0), export("memory", 2, 0), export("count", 3, countGlobal)),
			section(9, cat([]byte{0, 0x41, 0, 0x0b, randomFuncs}, cat(table...))),
			section(10, bodies...),
		)
	}
	return module(plainBodies), module(countingBodies)
}

func (p *program) pick(n int, label string) int { return rapid.IntRange(0, n-1).Draw(p.T, label) }

func (p *program) statements() fragment {
	var out fragment
	for range p.pick(5, "statements") {
		out = join(out, p.statement())
	}
	return out
}

func (p *program) statement() fragment {
	if p.budget--; p.budget < 0 {
		return fragment{}
	}
	switch p.pick(12, "statement") {
	case 0, 1:
		return join(p.value(), ins(1, 0x21, p.local()))
	case 2:
		return join(p.address(), p.value(), ins(2, 0x36, 0, 0))
	case 3, 4:
		return p.block()
	case 5, 6:
		return p.loop()
	case 7:
		return p.branches()
	case 8:
		return p.branch()
	case 9:
		return p.bulk()
	case 10:
		return p.table()
	default: // maybe return
		return join(p.value(), ins(1, 0x04, 0x40), p.value(), ins(2, 0x0f, 0x0b))
	}
}

// within gives the statements of a block.
func (p *program) within() fragment {
	p.depth++
	defer func() { p.depth-- }()
	return p.statements()
}

func (p *program) block() fragment { return join(ins(1, 0x02, 0x40), p.within(), ins(1, 0x0b)) }

func (p *program) branches() fragment {
	out := join(p.value(), ins(1, 0x04, 0x40), p.within())
	if p.pick(2, "else") == 0 {
		out = join(out, ins(1, 0x05), p.within())
	}
	return join(out, ins(1, 0x0b))
}

// loop goes round while there is fuel and its condition holds. The loop's own unit is paid for at its head.
func (p *program) loop() fragment {
	burn := ins(4, 0x23, fuelGlobal, 0x41, 1, 0x6b, 0x24, fuelGlobal) // fuel--
	round := charged(join(ins(1), burn, p.within(), p.value(), fuelled(), ins(2, 0x0d, 0), ins(1, 0x0b)))
	return join(ins(0, 0x03, 0x40), round)
}

// fuelled makes a condition depend on fuel too.
func fuelled() fragment { return ins(4, 0x23, fuelGlobal, 0x41, 0, 0x4a, 0x71) }

// branch may go to any label that takes no value, and so not to the function's. Those of loops go
// back: that takes fuel.
func (p *program) branch() fragment {
	if p.depth == 1 {
		return fragment{}
	}
	return join(p.value(), fuelled(), ins(2, 0x0d, byte(p.pick(p.depth-1, "label"))))
}

func (p *program) table() fragment {
	head := join(ins(2, 0x02, 0x40, 0x02, 0x40), p.value(), ins(2, 0x0e, 2, 0, 1, 1), ins(1, 0x0b))
	return join(head, p.within(), ins(1, 0x0b))
}

// bulk fills or copies, and pays for the length at that point and for the rest before.
func (p *program) bulk() fragment {
	length := int64(p.pick(5000, "length"))
	operands := join(p.address(), p.address(), ins(1, cat([]byte{0x41}, sleb(length))...))
	sized := charged(fragment{cost: length})
	if p.pick(2, "bulk") == 0 {
		return join(operands, sized, ins(32, 0xfc, 11, 0))
	}
	return join(operands, sized, ins(32, 0xfc, 10, 0, 0))
}

func (p *program) address() fragment { return join(p.value(), ins(2, 0x41, 0xff, 0x1f, 0x71)) } // below 4096

func (p *program) value() fragment {
	switch n := p.pick(9, "value"); {
	case n < 2:
		return p.get()
	case n < 4:
		return ins(1, 0x41, byte(p.pick(9, "constant")))
	case n == 4: // may divide by zero
		op := p.pick(4, "operator")
		return join(p.get(), p.get(), ins([]int64{1, 1, 2, 16}[op], []byte{0x6a, 0x6b, 0x6c, 0x6e}[op]))
	case n == 5:
		return join(p.get(), ins(4, 0x41, 0xff, 0x1f, 0x71, 0x28, 0, 0))
	case n < 8 && p.function+1 < randomFuncs:
		callee := byte(p.function + 1 + p.pick(randomFuncs-p.function-1, "callee"))
		if p.pick(2, "direct") == 0 {
			return join(p.get(), p.get(), ins(8, 0x10, callee))
		}
		return join(p.get(), p.get(), ins(1+16, 0x41, callee, 0x11, 0, 0))
	default:
		return ins(1, 0x3f, 0)
	}
}

func (p *program) local() byte { return byte(p.pick(4, "local")) }

func (p *program) get() fragment { return ins(1, 0x20, p.local()) }

// A random program does the same once it is metered, and costs in both engines what it should.
func TestRandomPrograms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plain, counting := randomModules(t)
		args := []uint64{uint64(rapid.Uint32().Draw(t, "a")), uint64(rapid.Uint32().Draw(t, "b"))}
		cost, difference := differs(t, plain, args)
		if difference != "" {
			t.Fatal(difference)
		}
		if want := countOf(t, counting, args); cost != want {
			t.Fatalf("it cost %d, want %d", cost, want)
		}
		checkBudgets(t, plain, cost, args)
	})
}

func countOf(t *rapid.T, code []byte, args []uint64) int64 {
	i := newInstance(t, engines()["interpreter"], code)
	defer i.close()
	i.run(0, args...)
	return int64(i.module.ExportedGlobal("count").Get())
}

// checkBudgets runs a program with too little: it must stop, at the same point in both engines.
func checkBudgets(t *rapid.T, code []byte, cost int64, args []uint64) {
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
