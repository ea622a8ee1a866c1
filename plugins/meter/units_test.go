package meter_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/datanode/datanode/plugins/meter"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// BenchmarkUnit says how long a unit takes, by what it is spent on: the costs are good if no kind of
// work is many times as long a unit as another, since a budget is meant to bound time.
func BenchmarkUnit(b *testing.B) {
	for name, code := range map[string][]byte{
		"nothing":      {},
		"add":          {0x20, 1, 0x41, 3, 0x6a, 0x21, 1},
		"multiply":     {0x20, 1, 0x41, 3, 0x6c, 0x21, 1},
		"divide":       {0x42, 0x7f, 0x20, 0, 0x41, 1, 0x72, 0xac, 0x80, 0xa7, 0x20, 1, 0x6a, 0x21, 1},
		"square root":  {0x20, 2, 0x9f, 0x21, 2},
		"float add":    {0x20, 2, 0x20, 2, 0xa0, 0x21, 2},
		"float divide": {0x20, 2, 0x44, 0, 0, 0, 0, 0, 0, 8, 0x40, 0xa3, 0x21, 2},
		"float floor":  {0x20, 2, 0x9c, 0x21, 2},
		"truncate":     {0x20, 2, 0xaa, 0x21, 1},
		"saturate":     {0x20, 2, 0xfc, 2, 0x21, 1},
		"load near":    {0x20, 1, 0x28, 2, 0, 0x21, 1},
		"load far": {0x20, 1, 0x41, 0xed, 0x9c, 0x99, 0x8e, 0x04, 0x6c, 0x41, 0xb9, 0xe0, 0, 0x6a, 0x21, 1, // random
			0x20, 1, 0x41, 8, 0x76, 0x28, 0, 0, 0x20, 1, 0x6a, 0x21, 1},
		"store":         {0x20, 1, 0x20, 0, 0x36, 2, 0},
		"call":          {0x10, 1},
		"call indirect": {0x41, 0, 0x11, 0, 0},
		"branch table":  {0x02, 0x40, 0x02, 0x40, 0x20, 0, 0x41, 1, 0x71, 0x0e, 1, 0, 1, 0x0b, 0x0b},
		"fill 0":        {0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 11, 0},
		"fill 100":      {0x41, 0, 0x41, 0, 0x41, 0xe4, 0, 0xfc, 11, 0},
		"fill 64k":      {0x41, 0, 0x41, 0, 0x41, 0x80, 0x80, 4, 0xfc, 11, 0},
		"fill 16M":      {0x41, 0, 0x41, 0, 0x41, 0x80, 0x80, 0x80, 8, 0xfc, 11, 0},
		"copy 64k":      {0x41, 0, 0x41, 0x80, 0x80, 8, 0x41, 0x80, 0x80, 4, 0xfc, 10, 0, 0},
		"copy 8M":       {0x41, 0, 0x41, 0x80, 0x80, 0x80, 4, 0x41, 0x80, 0x80, 0x80, 4, 0xfc, 10, 0, 0},
		"table copy":    {0x41, 0, 0x41, 0, 0x41, 0xe4, 0, 0xfc, 14, 0, 0},
		"table fill":    {0x41, 0, 0xd2, 1, 0x41, 0xe4, 0, 0xfc, 17, 0},
		"memory.size":   {0x3f, 0, 0x1a},
		"grow 0":        {0x41, 0, 0x40, 0, 0x1a},
		"call a host":   {0x10, 0},
	} {
		b.Run(name, func(b *testing.B) { benchmarkUnit(b, code) })
	}
}

func benchmarkUnit(b *testing.B, code []byte) {
	const rounds, repeated = 1000, 8
	module, err := meter.Instrument(wasm(
		section(1, funcType("", ""), funcType(i32, i32)),
		section(2, cat(sized([]byte("h")), sized([]byte("h")), []byte{0, 0})),
		section(3, uleb(0), uleb(1)),
		section(4, []byte{0x70, 0, 100}),
		section(5, []byte{0, 0x80, 2}),
		section(7, export("run", 0, 2)),
		section(9, []byte{0, 0x41, 0, 0x0b, 1, 1}),
		section(10, body(""), body(i32+f64, []byte{0x44, 0, 0, 0, 0, 0, 0, 0x59, 0x40, 0x21, 2, 0x03, 0x40},
			bytes.Repeat(code, repeated), []byte{0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x20, 1})),
	))
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler())
	defer r.Close(ctx)
	if _, err := r.NewHostModuleBuilder("h").NewFunctionBuilder().WithGoFunction(
		api.GoFunc(func(context.Context, []uint64) {}), nil, nil).
		Export("h").Instantiate(ctx); err != nil {
		b.Fatal(err)
	}
	m, err := r.Instantiate(ctx, module)
	if err != nil {
		b.Fatal(err)
	}
	run, left := m.ExportedFunction("run"), m.ExportedGlobal(meter.Export).(api.MutableGlobal)
	for b.Loop() {
		left.Set(budget)
		if _, err := run.Call(ctx, rounds); err != nil {
			b.Fatal(err)
		}
	}
	units := float64(b.N) * float64(budget-int64(left.Get()))
	b.ReportMetric(1000*float64(b.Elapsed().Nanoseconds())/units, "ps/unit")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rounds/repeated, "ns/each")
	b.ReportMetric(0, "ns/op")
}
