package meter_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// mnemonics are the instructions that the cases in testdata use. Their operands follow, in decimal.
var mnemonics = map[string][]byte{
	"unreachable": {0x00}, "nop": {0x01}, "block": {0x02, 0x40}, "loop": {0x03, 0x40}, "if": {0x04, 0x40}, "else": {0x05},
	"end": {0x0b}, "br": {0x0c}, "br_if": {0x0d}, "br_table": {0x0e}, "return": {0x0f}, "call": {0x10},
	"call_indirect": {0x11},
	"drop":          {0x1a}, "local.get": {0x20}, "local.set": {0x21}, "local.tee": {0x22}, "global.get": {0x23},
	"i32.load": {0x28}, "i32.store": {0x36}, "memory.size": {0x3f, 0}, "memory.grow": {0x40, 0}, "i32.const": {0x41},
	"i32.eqz": {0x45}, "i32.add": {0x6a}, "i32.sub": {0x6b}, "i32.mul": {0x6c}, "i32.div_u": {0x6e},
	"f64.convert_i32_u": {0xb8}, "f64.add": {0xa0}, "f64.sqrt": {0x9f}, "ref.func": {0xd2},
	"memory.init": {0xfc, 8}, "memory.copy": {0xfc, 10}, "memory.fill": {0xfc, 11}, "table.fill": {0xfc, 17},
}

// assemble reads one instruction a line. Indentation and what follows ;; are for the reader.
func assemble(t *testing.T, text string) []byte {
	var out []byte
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, ";;")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		code, ok := mnemonics[fields[0]]
		if !ok {
			t.Fatalf("no instruction %q", fields[0])
		}
		out = append(out, code...)
		for _, f := range fields[1:] {
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, sleb(n)...)
		}
	}
	return out
}

// Each case is the body of a function with one i32 parameter, without results. Function 0 is the
// host's, function 2 gives 42 (type 2), table 0 has ten elements. The answer is what each call costs.
func TestCosts(t *testing.T) {
	datadriven.RunTest(t, "testdata/costs", func(t *testing.T, d *datadriven.TestData) string {
		module := opCase{i32, "", assemble(t, d.Input), true}.module()
		var out strings.Builder
		for _, arg := range d.CmdArgs {
			for _, v := range arg.Vals {
				n, err := strconv.ParseUint(v, 10, 32)
				if err != nil {
					t.Fatal(err)
				}
				cost, difference := differs(t, module, []uint64{n})
				if difference != "" {
					t.Fatal(difference)
				}
				fmt.Fprintf(&out, "%s=%d: %d\n", arg.Key, n, cost)
			}
		}
		return out.String()
	})
}
