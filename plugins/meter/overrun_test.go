package meter_test

import (
	"math"
	"testing"

	"github.com/datanode/datanode/plugins/meter"
	"github.com/tetratelabs/wazero/api"
)

// endless are bodies of () -> () that never end by themselves, or do more than any budget here.
// Function 1 is themselves.
var endless = map[string][]byte{
	"loop":             {0x03, 0x40, 0x0c, 0, 0x0b},
	"loop in loop":     {0x03, 0x40, 0x03, 0x40, 0x0c, 1, 0x0b, 0x0b},
	"loop by br_if":    {0x03, 0x40, 0x41, 1, 0x0d, 0, 0x0b},
	"loop by br_table": {0x03, 0x40, 0x41, 5, 0x0e, 1, 0, 0, 0x0b},
	"loop with values": {0x41, 1, 0x03, 1, 0x0c, 0, 0x0b, 0x1a},
	"loop after call":  {0x10, 0, 0x03, 0x40, 0x0c, 0, 0x0b},
	"loop with call":   {0x03, 0x40, 0x10, 0, 0x0c, 0, 0x0b},
	"loop within calls": {0x03, 0x40, 0x10, 0, 0x03, 0x40, 0x20, 0, 0x41, 1, 0x6a, 0x22, 0, 0x41, 3, 0x71, 0x0d, 0, 0x0b,
		0x0c, 0, 0x0b},
	"recursion":       {0x10, 1},
	"through a table": {0x41, 0, 0x11, 0, 0},
	"memory.fill":     {0x41, 0, 0x41, 0, 0x41, 0x80, 0x80, 0x3c, 0xfc, 11, 0},
	"memory.copy":     {0x41, 0, 0x41, 0, 0x41, 0x80, 0x80, 0x3c, 0xfc, 10, 0, 0},
	"memory.init":     {0x41, 0, 0x41, 0, 0x41, 0x80, 0x80, 0x3c, 0xfc, 8, 0, 0},
	"memory.grow":     {0x41, 3, 0x40, 0, 0x1a},
	"all memory":      {0x41, 0x7f, 0x40, 0, 0x1a},
	"table.fill":      {0x41, 0, 0xd0, 0x70, 0x41, 0xc0, 0x84, 0x3d, 0xfc, 17, 0},
	"table.copy":      {0x41, 0, 0x41, 0, 0x41, 0xc0, 0x84, 0x3d, 0xfc, 14, 0, 0},
	"table.init":      {0x41, 0, 0x41, 0, 0x41, 0xc0, 0x84, 0x3d, 0xfc, 12, 1, 0},
	"fills":           {0x03, 0x40, 0x41, 0, 0x41, 0, 0x41, 0xc0, 0, 0xfc, 11, 0, 0x0c, 0, 0x0b},
	"grows":           {0x03, 0x40, 0x41, 0, 0x40, 0, 0x1a, 0x0c, 0, 0x0b},
}

func endlessModule(code []byte) []byte {
	return wasm(
		section(1, funcType("", ""), funcType(i32, i32)),
		section(3, uleb(0), uleb(0)),
		section(4, []byte{0x70, 0, 1}),
		section(5, []byte{0, 1}),
		section(7, export("run", 0, 1)),
		section(9, []byte{0, 0x41, 0, 0x0b, 1, 1}, []byte{1, 0, 1, 1}),
		rawSection(12, uleb(1)),
		section(10, body(""), body(i32, code)),
		section(11, cat([]byte{1}, sized([]byte("data")))),
	)
}

// Whatever never ends is ended, at the same point in both engines, and before it does what it could
// not pay for. The budget is below what a recursion costs until an engine runs out of stack, which is
// the engine's own affair: the interpreter takes 2000 calls, the compiler some 50,000.
func TestOverrun(t *testing.T) {
	const budget = 20_000
	for name, code := range endless {
		t.Run(name, func(t *testing.T) {
			metered, err := meter.Instrument(endlessModule(code))
			if err != nil {
				t.Fatal(err)
			}
			var left []int64
			for _, c := range engines() {
				i := newInstance(t, c, metered)
				o := i.run(budget)
				i.close()
				if o.trap != "wasm error: unreachable" || o.left >= 0 {
					t.Fatalf("%q with %d of %d left, want it stopped", o.trap, o.left, budget)
				}
				left = append(left, o.left)
			}
			if left[0] != left[1] {
				t.Errorf("%d are left in one engine, %d in the other", left[0], left[1])
			}
		})
	}
}

// A budget of just what a call costs is enough, and one less is not.
func TestExactBudget(t *testing.T) {
	sum := opCase{i32, i32, []byte{ // adds up the numbers below its parameter, with a call for each
		0x03, 0x40, 0x10, 2, 0x1a, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x20, 0}, true}
	cost, difference := differs(t, sum.module(), []uint64{10})
	if difference != "" {
		t.Fatal(difference)
	}
	metered, err := meter.Instrument(sum.module())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range engines() {
		i := newInstance(t, c, metered)
		if o := i.run(cost, 10); o.trap != "" || o.left != 0 {
			t.Errorf("%s: with a budget of %d: %q, %d are left", name, cost, o.trap, o.left)
		}
		if o := i.run(cost-1, 10); o.trap == "" || o.left >= 0 {
			t.Errorf("%s: with a budget of %d: %q, %d are left", name, cost-1, o.trap, o.left)
		}
		for _, none := range []int64{0, -1, math.MinInt64 + 1<<50} {
			if o := i.run(none, 10); o.trap == "" || o.left >= none {
				t.Errorf("%s: with a budget of %d: %q, %d are left", name, none, o.trap, o.left)
			}
		}
		i.close()
	}
}

// Nothing runs before the host has set a budget.
func TestNoBudget(t *testing.T) {
	metered, err := meter.Instrument(endlessModule(nil))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range engines() {
		i := newInstance(t, c, metered)
		_, err := i.module.ExportedFunction("run").Call(t.Context())
		if err == nil {
			t.Errorf("%s: it ran", name)
		}
		i.close()
	}
}

// What the host takes off while it is called is not given back.
func TestHostCharges(t *testing.T) {
	const hostCharge = 1000
	called := opCase{"", "", []byte{0x10, 0, 0x03, 0x40, 0x01, 0x0b}, true}.module()
	metered, err := meter.Instrument(called)
	if err != nil {
		t.Fatal(err)
	}
	without, difference := differs(t, called, nil)
	if difference != "" {
		t.Fatal(difference)
	}
	for name, c := range engines() {
		i := newInstanceCalling(t, c, metered, func(m api.Module) {
			left := m.ExportedGlobal(meter.Export).(api.MutableGlobal)
			left.Set(left.Get() - hostCharge)
		})
		if o := i.run(plenty); o.trap != "" || plenty-o.left != without+hostCharge {
			t.Errorf("%s: %q, it cost %d, want %d", name, o.trap, plenty-o.left, without+hostCharge)
		}
		i.close()
	}
}
