package meter_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/datanode/datanode/plugins/meter"
)

// opCase is a use of one instruction. Its operands are the parameters of a function that answers
// with its results.
type opCase struct {
	params, results string
	code            []byte // with the operands on the stack already
	control         bool   // code brings its own operands
}

// operands are the edges at which instructions trap, saturate or round.
var operands = map[byte][]uint64{
	i32[0]: {0, 1, 7, 31, 0x7fffffff, 0x80000000, 0xffffffff},
	i64[0]: {0, 1, 63, 1 << 40, math.MaxInt64, 1 << 63, math.MaxUint64},
	f32[0]: f32s(0, 1, -1.5, 1e10, 3e38, float32(math.Inf(-1)), float32(math.NaN())),
	f64[0]: f64s(0, 1, -1.5, 1e10, 1e300, math.Inf(1), math.NaN()),
}

func f32s(v ...float32) []uint64 {
	var out []uint64
	for _, f := range v {
		out = append(out, uint64(math.Float32bits(f)))
	}
	return out
}

func f64s(v ...float64) []uint64 {
	var out []uint64
	for _, f := range v {
		out = append(out, math.Float64bits(f))
	}
	return out
}

// numeric are the instructions without immediates, from 0x45 on: a range shares one signature.
var numeric = []struct {
	from, to        byte
	params, results string
}{
	{0x45, 0x45, i32, i32}, {0x46, 0x4f, i32 + i32, i32}, {0x50, 0x50, i64, i32}, {0x51, 0x5a, i64 + i64, i32},
	{0x5b, 0x60, f32 + f32, i32}, {0x61, 0x66, f64 + f64, i32},
	{0x67, 0x69, i32, i32}, {0x6a, 0x78, i32 + i32, i32}, {0x79, 0x7b, i64, i64}, {0x7c, 0x8a, i64 + i64, i64},
	{0x8b, 0x91, f32, f32}, {0x92, 0x98, f32 + f32, f32}, {0x99, 0x9f, f64, f64}, {0xa0, 0xa6, f64 + f64, f64},
	{0xa7, 0xa7, i64, i32}, {0xa8, 0xa9, f32, i32}, {0xaa, 0xab, f64, i32}, {0xac, 0xad, i32, i64},
	{0xae, 0xaf, f32, i64}, {0xb0, 0xb1, f64, i64}, {0xb2, 0xb3, i32, f32}, {0xb4, 0xb5, i64, f32}, {0xb6, 0xb6, f64, f32},
	{0xb7, 0xb8, i32, f64}, {0xb9, 0xba, i64, f64}, {0xbb, 0xbb, f32, f64},
	{0xbc, 0xbc, f32, i32}, {0xbd, 0xbd, f64, i64}, {0xbe, 0xbe, i32, f32}, {0xbf, 0xbf, i64, f64},
	{0xc0, 0xc1, i32, i32}, {0xc2, 0xc4, i64, i64},
}

// loads and stores are from 0x28 on.
const (
	loads  = i32 + i64 + f32 + f64 + i32 + i32 + i32 + i32 + i64 + i64 + i64 + i64 + i64 + i64
	stores = i32 + i64 + f32 + f64 + i32 + i32 + i64 + i64 + i64
)

// opCases has at least one use of each instruction that can be metered. Keys are opcodes; those
// behind 0xfc are 0xfc00 and what follows.
func opCases() map[uint32][]opCase {
	cases := map[uint32][]opCase{}
	for _, n := range numeric {
		for op := n.from; op <= n.to; op++ {
			cases[uint32(op)] = []opCase{{n.params, n.results, []byte{op}, false}}
		}
	}
	for i, t := range []byte(loads) {
		cases[uint32(0x28+i)] = []opCase{{i32, string(t), []byte{byte(0x28 + i), 0, 4}, false}}
	}
	for i, t := range []byte(stores) {
		cases[uint32(0x36+i)] = []opCase{{i32 + string(t), "", []byte{byte(0x36 + i), 0, 4}, false}}
	}
	for sub, c := range map[uint32]opCase{
		0: {f32, i32, nil, false}, 1: {f32, i32, nil, false}, 2: {f64, i32, nil, false}, 3: {f64, i32, nil, false},
		4: {f32, i64, nil, false}, 5: {f32, i64, nil, false}, 6: {f64, i64, nil, false}, 7: {f64, i64, nil, false},
		8: {i32 + i32 + i32, "", []byte{1, 0}, false}, 9: {"", "", []byte{1}, false},
		10: {i32 + i32 + i32, "", []byte{0, 0}, false}, 11: {i32 + i32 + i32, "", []byte{0}, false},
		12: {i32 + i32 + i32, "", []byte{0, 0}, false}, 13: {"", "", []byte{0}, false},
		14: {i32 + i32 + i32, "", []byte{0, 0}, false}, 16: {"", i32, []byte{0}, false},
	} {
		c.code = cat([]byte{0xfc}, uleb(sub), c.code)
		cases[0xfc00|sub] = []opCase{c}
	}
	for op, c := range controlCases() {
		c.control = true
		cases[op] = append(cases[op], c)
	}
	return cases
}

// controlCases are what does not simply take operands and give results. Function 0 is imported, 1 is
// the one that holds the case, 2 gives 42; type 2 is () -> i32, type 3 is i32 -> i32.
func controlCases() map[uint32]opCase {
	return map[uint32]opCase{
		0x00: {"", "", []byte{0x00}, true},
		0x01: {"", "", []byte{0x01}, true},
		0x02: {i32, i32, []byte{0x20, 0, 0x02, 3, 0x41, 1, 0x6a, 0x0b}, true},
		0x03: {i32, i32, []byte{0x41, 9, 0x21, 0, 0x20, 0, 0x03, 3, 0x41, 1, 0x6b, 0x22, 0, 0x20, 0, 0x0d, 0, 0x0b}, true},
		0x04: {i32, i32, []byte{0x20, 0, 0x04, 0x7f, 0x41, 5, 0x05, 0x41, 6, 0x0b}, true},
		0x05: {i32, i32, []byte{0x20, 0, 0x04, 0x7f, 0x10, 2, 0x05, 0x41, 6, 0x0b}, true},
		0x0b: {"", "", []byte{0x02, 0x40, 0x0b}, true},
		0x0c: {i32, i32, []byte{0x02, 0x7f, 0x20, 0, 0x0c, 0, 0x0b}, true},
		0x0d: {i32, i32, []byte{0x41, 3, 0x20, 0, 0x0d, 0, 0x41, 1, 0x6a}, true},
		0x0e: {i32, i32, []byte{0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x0e, 2, 0, 1, 0, 0x0b, 0x41, 7, 0x0f, 0x0b, 0x41, 8}, true},
		0x0f: {i32, i32, []byte{0x20, 0, 0x0f}, true},
		0x10: {"", i32, []byte{0x10, 0, 0x10, 2}, true},
		0x11: {i32, i32, []byte{0x20, 0, 0x11, 2, 0}, true},
		0x1a: {i32, "", []byte{0x20, 0, 0x1a}, true},
		0x1b: {i32, i64, []byte{0x42, 1, 0x42, 2, 0x20, 0, 0x1b}, true},
		0x1c: {i32, i32, []byte{0xd2, 2, 0xd0, 0x70, 0x20, 0, 0x1c, 1, 0x70, 0xd1}, true},
		0x20: {i64, i64, []byte{0x20, 0}, true},
		0x21: {i64, i64, []byte{0x42, 5, 0x21, 0, 0x20, 0}, true},
		0x22: {i64, i64, []byte{0x42, 5, 0x22, 0}, true},
		0x23: {"", i64, []byte{0x23, 0}, true},
		0x24: {i64, i64, []byte{0x20, 0, 0x24, 0, 0x23, 0}, true},
		0x25: {i32, i32, []byte{0x20, 0, 0x25, 0, 0xd1}, true},
		0x26: {i32, i32, []byte{0x20, 0, 0xd2, 2, 0x26, 0, 0x20, 0, 0x25, 0, 0xd1}, true},
		0x3f: {"", i32, []byte{0x3f, 0}, true},
		0x40: {i32, i32, []byte{0x20, 0, 0x40, 0}, true},
		0x41: {"", i32, []byte{0x41, 0xff, 0xff, 0xff, 0xff, 0x7}, true},
		0x42: {"", i64, []byte{0x42, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f}, true},
		0x43: {"", f32, []byte{0x43, 0x0b, 0x0b, 0x0b, 0x0b}, true},
		0x44: {"", f64, []byte{0x44, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b, 0x0b}, true},
		0xd0: {"", i32, []byte{0xd0, 0x6f, 0xd1}, true},
		0xd1: {"", i32, []byte{0xd2, 2, 0xd1}, true},
		0xd2: {i32, i32, []byte{0x20, 0, 0xd2, 2, 0x26, 0, 0x20, 0, 0x11, 2, 0}, true},

		0xfc00 | 17: {i32, "", []byte{0x20, 0, 0xd2, 2, 0x41, 3, 0xfc, 17, 0}, true},
	}
}

func (c opCase) module() []byte {
	code := c.code
	if !c.control {
		var get []byte
		for i := range c.params {
			get = append(get, 0x20, byte(i))
		}
		code = cat(get, c.code)
	}
	return wasm(
		section(1, funcType(c.params, c.results), funcType("", ""), funcType("", i32), funcType(i32, i32)),
		section(2, cat(sized([]byte("host")), sized([]byte("called")), []byte{0, 1})),
		section(3, uleb(0), uleb(2)),
		section(4, []byte{0x70, 0, 10}),
		section(5, []byte{0, 1}),
		section(6, []byte{0x7e, 1, 0x42, 0, 0x0b}),
		section(7, export("run", 0, 1), export("memory", 2, 0)),
		section(9, cat([]byte{1, 0, 2}, uleb(2), uleb(2)), cat([]byte{0, 0x41, 1, 0x0b, 1}, uleb(2))),
		rawSection(12, uleb(2)),
		section(10, body("", code), body("", []byte{0x41, 42})),
		section(11, cat([]byte{0, 0x41, 8, 0x0b}, sized([]byte("some data"))), cat([]byte{1}, sized([]byte("more")))),
	)
}

// Each instruction does what it did before, and costs the same in both engines, whatever it is given.
func TestEveryInstruction(t *testing.T) {
	for op, cases := range opCases() {
		for _, c := range cases {
			if _, difference := differs(t, c.module(), arguments(c.params)...); difference != "" {
				t.Errorf("opcode %#x: %s", op, difference)
			}
		}
	}
}

// arguments are seven tuples in which each parameter takes each of its operands once.
func arguments(params string) [][]uint64 {
	if params == "" {
		return [][]uint64{nil}
	}
	tuples := make([][]uint64, 7)
	for n := range tuples {
		for i, p := range []byte(params) {
			tuples[n] = append(tuples[n], operands[p][(n*(i+1)+i)%7])
		}
	}
	return tuples
}

// The instructions above are all that there are: what has no case is unknown to the meter, and to the
// compiler as well. The one exception is table.grow.
func TestNoInstructionIsForgotten(t *testing.T) {
	const tableGrow = 0xfc00 | 15
	cases := opCases()
	for n := range uint32(2 * 256) {
		op, code := n, []byte{byte(n)}
		if n > 0xff {
			op, code = 0xfc00|n&0xff, cat([]byte{0xfc}, uleb(n&0xff))
		}
		if _, tested := cases[op]; tested || op == 0xfc {
			continue
		}
		refusedAs(t, op, behindUnreachable(code, ""))
		compiles := false
		for _, immediates := range []string{"", "\x00", "\x00\x00", "\x00\x00\x00", "\x40\x0b", "\x70", "\x00\x40\x00\x0b",
			strings.Repeat("\x00", 16)} {
			compiles = compiles || valid(behindUnreachable(code, immediates))
		}
		if compiles != (op == tableGrow) {
			t.Errorf("that the compiler knows opcode %#x is %v", op, compiles)
		}
	}
}

// behindUnreachable is a module where all types check, whatever code takes and gives.
func behindUnreachable(code []byte, immediates string) []byte {
	return opCase{"", "", cat([]byte{0x00}, code, []byte(immediates), []byte{0x00}), true}.module()
}

func refusedAs(t *testing.T, op uint32, module []byte) {
	t.Helper()
	first := byte(op)
	if op > 0xff {
		first = 0xfc
	}
	_, err := meter.Instrument(module)
	var refused *meter.Error
	if !errors.As(err, &refused) || refused.Reason != meter.UnknownOpcode || refused.Opcode != op ||
		module[refused.Offset] != first {
		t.Errorf("opcode %#x: %+v", op, err)
	}
}
