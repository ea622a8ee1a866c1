package meter_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/datanode/datanode/plugins/meter"
)

// oneFunction is a module of one function () -> () with one global and code.
func oneFunction(code ...byte) []byte {
	return wasm(section(1, funcType("", "")), section(3, uleb(0)), section(5, []byte{0, 1}),
		section(6, []byte{0x7f, 1, 0x41, 0, 0x0b}), section(7, export("run", 0, 0)), section(10, body(i32, code)))
}

type refusal struct {
	module []byte
	reason meter.Reason
	detail string
}

func refusals() map[string]refusal {
	types := section(1, funcType("", ""))
	metered, err := meter.Instrument(oneFunction())
	if err != nil {
		metered = nil
	}
	return map[string]refusal{
		"nothing":            {nil, meter.Malformed, `\0asm`},
		"another version":    {[]byte("\x00asm\x02\x00\x00\x00"), meter.Malformed, `\0asm`},
		"unknown section":    {wasm(rawSection(13, nil)), meter.Malformed, "unknown, twice or out of order"},
		"section twice":      {wasm(types, types), meter.Malformed, "unknown, twice or out of order"},
		"sections exchanged": {wasm(section(3), types), meter.Malformed, "unknown, twice or out of order"},
		"section cut": {[]byte("\x00asm\x01\x00\x00\x00\x01\x7f"), meter.Malformed,
			"127 bytes are named where 0 are left"},
		"section too long": {wasm(rawSection(1, []byte{0, 0})), meter.Malformed, "1 bytes too many"},
		"long number": {wasm(rawSection(1, []byte{0x80, 0x80, 0x80, 0x80, 0x10})), meter.Malformed,
			"more than 32 bits"},
		"many types":         {wasm(rawSection(1, []byte{0xff, 0xff, 0x03})), meter.Malformed, "65535 types in 0 bytes"},
		"type form":          {wasm(section(1, []byte{0x5f, 0})), meter.Malformed, "type form 0x5f"},
		"type of two bytes":  {wasm(section(1, []byte{0x60, 1, 0x63, 0x70, 0})), meter.Malformed, "value type 0x63"},
		"import of a tag":    {wasm(types, section(2, []byte{0, 0, 4, 0, 0})), meter.Malformed, "import of kind 0x4"},
		"function type":      {wasm(types, section(3, uleb(1))), meter.Malformed, "type 1 of 1"},
		"no code":            {wasm(types, section(3, uleb(0))), meter.Malformed, "no function bodies"},
		"too much code":      {wasm(types, section(3), section(10, body(""))), meter.Malformed, "1 function bodies, but 0"},
		"shared memory":      {wasm(section(2, []byte{0, 0, 2, 3, 1, 1})), meter.Malformed, "limits flag 0x3"},
		"code in a constant": {wasm(section(6, []byte{0x7f, 0, 0x10, 0, 0x0b})), meter.UnknownOpcode, "opcode 0x10"},
		"element flags":      {wasm(section(9, []byte{8})), meter.Malformed, "element segment flags"},
		"element kind":       {wasm(section(9, []byte{1, 1, 0})), meter.Malformed, "0x1, where only 0"},
		"data flags":         {wasm(section(11, []byte{3})), meter.Malformed, "data segment flags"},
		"no end":             {oneFunction(0x02, 0x40), meter.Malformed, "1 bytes are named where 0 are left"},
		"after the end":      {oneFunction(0x0b), meter.Malformed, "1 bytes too many"},
		"many targets":       {oneFunction(0x0e, 0xff, 0xff, 0x03), meter.Malformed, "65535 branch targets"},
		"block type":         {oneFunction(0x02, 0x63), meter.Malformed, "value type 0x63"},
		"block type index":   {oneFunction(0x03, 1), meter.Malformed, "type 1 of 1"},
		"select of two":      {oneFunction(0x1c, 2, 0x7f, 0x7f), meter.Malformed, "a select of 2 types"},
		"long select type":   {oneFunction(0x1c, 1, 0x63, 0x70), meter.Malformed, "value type 0x63"},
		"long null type":     {oneFunction(0xd0, 0), meter.Malformed, "value type 0x0"},
		"another memory":     {oneFunction(0x41, 0, 0x40, 1), meter.Malformed, "0x1, where only 0"},
		"a long zero":        {oneFunction(0x41, 0, 0x40, 0x80, 0), meter.Malformed, "0x80, where only 0"},
		"long constant":      {oneFunction(0x41, 0x80, 0x80, 0x80, 0x80, 0x80, 0), meter.Malformed, "number is too long"},
		"function":           {oneFunction(0x10, 1), meter.Malformed, "function 1 of 1"},
		"SIMD":               {oneFunction(0xfd, 0x0c), meter.UnknownOpcode, "opcode 0xfd"},
		"threads":            {oneFunction(0xfe, 0), meter.UnknownOpcode, "opcode 0xfe"},
		"tail call":          {oneFunction(0x12, 0), meter.UnknownOpcode, "opcode 0x12"},
		"table.grow":         {oneFunction(0xfc, 15, 0), meter.UnknownOpcode, "opcode 0xfc0f"},
		"a long table.grow":  {oneFunction(0xfc, 0x8f, 0, 0), meter.UnknownOpcode, "opcode 0xfc0f"},
		"far behind 0xfc":    {oneFunction(0xfc, 0x8b, 2, 0), meter.UnknownOpcode, "opcode"},

		// With what metering adds these would be valid.
		"read the budget":      {oneFunction(0x23, 1, 0x1a), meter.Malformed, "global 1 of 1"},
		"set the budget":       {oneFunction(0x42, 9, 0x24, 1), meter.Malformed, "global 1 of 1"},
		"use the local":        {oneFunction(0x42, 9, 0x21, 1), meter.Malformed, "local 1 of 1"},
		"tee the local":        {oneFunction(0x42, 9, 0x22, 1, 0x1a), meter.Malformed, "local 1 of 1"},
		"export the budget":    {wasm(section(7, export("mine", 3, 0))), meter.Malformed, "global 0 of 0"},
		"a global from itself": {wasm(section(6, []byte{0x7e, 0, 0x23, 0, 0x0b})), meter.Malformed, "global 0 of 0"},
		"data at the budget":   {wasm(section(11, []byte{0, 0x23, 0, 0x0b, 0})), meter.Malformed, "global 0 of 0"},

		"metered before": {metered, meter.AlreadyMetered, meter.Export},
		"a function of that name": {wasm(types, section(3, uleb(0)), section(7, export(meter.Export, 0, 0)),
			section(10, body(""))),
			meter.AlreadyMetered, meter.Export},
		"many locals": {wasm(types, section(3, uleb(0)),
			section(10, sized([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x7f, 0x0b}))),
			meter.TooLarge, "4294967295 locals"},
		"many loops": {oneFunction(bytes.Repeat([]byte{0x03, 0x40, 0x0b}, 600)...), meter.TooLarge, "more than 511 loops"},
		"loops everywhere": {manyFunctions(100, bytes.Repeat([]byte{0x03, 0x40, 0x0b}, 500)),
			meter.TooLarge, "too many functions with hundreds of loops"},
	}
}

func manyFunctions(n int, code []byte) []byte {
	functions, bodies := make([][]byte, n), make([][]byte, n)
	for i := range functions {
		functions[i], bodies[i] = uleb(0), body("", code)
	}
	return wasm(section(1, funcType("", "")), section(3, functions...), section(10, bodies...))
}

func TestEveryRefusal(t *testing.T) {
	for name, want := range refusals() {
		_, err := meter.Instrument(want.module)
		var refused *meter.Error
		if !errors.As(err, &refused) || refused.Reason != want.reason || !strings.Contains(refused.Detail, want.detail) {
			t.Errorf("%s: %v, want %s: ...%s...", name, err, want.reason, want.detail)
		}
	}
}

// A module that is cut short anywhere is refused, not misread.
func TestCutShort(t *testing.T) {
	whole := opCases()[0x0e][0].module()
	for n := range whole {
		cut, err := meter.Instrument(whole[:n])
		if refused := (*meter.Error)(nil); err != nil && !errors.As(err, &refused) {
			t.Fatalf("%T %v", err, err)
		}
		if err == nil && valid(cut) != valid(whole[:n]) {
			t.Errorf("the first %d bytes: valid before is %v", n, valid(whole[:n]))
		}
	}
}

// What metering adds goes where it belongs, whatever sections there are.
func TestSectionsAreMade(t *testing.T) {
	for name, module := range map[string][]byte{
		"empty":       wasm(),
		"custom only": wasm(rawSection(0, sized([]byte("name")))),
		"no globals":  opCase{"", "", nil, true}.module(),
		"imported global": wasm(section(2, cat(sized([]byte("a")), sized([]byte("b")), []byte{3, 0x7f, 0})),
			section(6, []byte{0x7f, 0, 0x23, 0, 0x0b})),
		"imports of all kinds": wasm(section(1, funcType("", "")), section(2,
			cat(sized([]byte("a")), sized([]byte("f")), []byte{0, 0}),
			cat(sized([]byte("a")), sized([]byte("t")), []byte{1, 0x70, 1, 1, 2}),
			cat(sized([]byte("a")), sized([]byte("m")), []byte{2, 0, 1}),
			cat(sized([]byte("a")), sized([]byte("g")), []byte{3, 0x7e, 1})),
			rawSection(8, uleb(0))),
	} {
		out, err := meter.Instrument(module)
		if err != nil || !valid(module) || !valid(out) {
			t.Errorf("%s: %v, valid before %v", name, err, valid(module))
		}
		if bytes.Contains(out, []byte("name")) {
			t.Errorf("%s: a custom section is left", name)
		}
	}
}

// Whatever is fed in, metering neither makes a bad module good nor a good one bad.
func FuzzInstrument(f *testing.F) {
	for _, r := range refusals() {
		f.Add(r.module)
	}
	for _, cases := range opCases() {
		f.Add(cases[0].module())
	}
	for _, code := range endless {
		f.Add(endlessModule(code))
	}
	f.Add(defaultPolicy(f))
	f.Add(loopHeavy())
	f.Fuzz(func(t *testing.T, module []byte) {
		before := bytes.Clone(module)
		out, err := meter.Instrument(module)
		if !bytes.Equal(module, before) {
			t.Fatal("the module has been written to")
		}
		if err != nil {
			if refused := (*meter.Error)(nil); !errors.As(err, &refused) || refused.Offset > len(module) {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		if len(module) < 1<<16 && valid(withoutCustom(module)) != valid(out) {
			t.Fatalf("valid before metering is %v, after it %v\n%x", valid(module), valid(out), out)
		}
	})
}

// withoutCustom is a module without its custom sections, which the compiler may refuse too.
func withoutCustom(module []byte) []byte {
	out := bytes.Clone(module[:8])
	for rest := module[8:]; len(rest) > 0; {
		size, shift, n := 0, 0, 1
		for more := true; more; n++ {
			size |= int(rest[n]&0x7f) << shift
			shift += 7
			more = rest[n] >= 0x80
		}
		if rest[0] != 0 {
			out = append(out, rest[:n+size]...)
		}
		rest = rest[n+size:]
	}
	return out
}
