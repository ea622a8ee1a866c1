package meter_test

import (
	"context"
	"encoding/binary"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/datanode/datanode/plugins/meter"
	"github.com/datanode/datanode/policies/policytest"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// BenchmarkOverhead asks each policy about batches of 256, plain and metered in turns, and reports
// how much longer the metered one takes: the median over all turns, so that what else the machine
// does falls on both.
func BenchmarkOverhead(b *testing.B) {
	modules := map[string][]byte{"default": defaultPolicy(b), "loops": loopHeavy(),
		"go": buildGo(b, "../../examples/policies/least-redundant-first")}
	examples, err := filepath.Glob("../../examples/policies/*/*.wasm")
	if err != nil {
		b.Fatal(err)
	}
	for _, path := range examples {
		if modules[filepath.Base(path)], err = os.ReadFile(path); err != nil {
			b.Fatal(err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		b.Run(name, func(b *testing.B) { benchmarkOverhead(b, modules[name]) })
	}
}

func benchmarkOverhead(b *testing.B, module []byte) {
	const batch, callsInTurn = 256, 20
	metered, err := meter.Instrument(module)
	if err != nil {
		b.Fatal(err)
	}
	plain, counting := newGuest(b, module, batch), newGuest(b, metered, batch)
	var without, with, ratios []float64
	for b.Loop() {
		p, m := plain.time(b, callsInTurn), counting.time(b, callsInTurn)
		without, with, ratios = append(without, p), append(with, m), append(ratios, m/p)
	}
	b.ReportMetric(median(without)/batch, "ns/plain-record")
	b.ReportMetric(median(with)/batch, "ns/metered-record")
	b.ReportMetric(100*(median(ratios)-1), "%-slower")
	b.ReportMetric(float64(counting.cost)/batch, "units/record")
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// guest is a policy with a batch in its memory.
type guest struct {
	score   api.Function
	stack   []uint64
	in, out uint64
	batch   uint64
	left    api.MutableGlobal // nil without metering
	cost    int64
}

const budget = 1 << 40

func newGuest(tb testing.TB, module []byte, batch int) *guest {
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler())
	tb.Cleanup(func() { r.Close(ctx) })
	linkPolicy(tb, r)
	m, err := r.InstantiateWithConfig(ctx, module, wazero.NewModuleConfig().WithStartFunctions())
	if err != nil {
		tb.Fatal(err)
	}
	g := &guest{score: m.ExportedFunction("policy_score"), batch: uint64(batch), stack: make([]uint64, 3)}
	if left := m.ExportedGlobal(meter.Export); left != nil {
		g.left = left.(api.MutableGlobal)
		g.left.Set(budget)
	}
	if f := m.ExportedFunction("_initialize"); f != nil {
		if _, err := f.Call(ctx); err != nil {
			tb.Fatal(err)
		}
	}
	if f := m.ExportedFunction("policy_init"); f != nil {
		const config = "{}"
		at := g.alloc(tb, m, len(config))
		m.Memory().Write(uint32(at), []byte(config))
		if _, err := f.Call(ctx, at, uint64(len(config))); err != nil {
			tb.Fatal(err)
		}
	}
	records := batchOf(batch)
	g.in, g.out = g.alloc(tb, m, len(records)), g.alloc(tb, m, 8*batch)
	if !m.Memory().Write(uint32(g.in), records) {
		tb.Fatal("no room for the batch")
	}
	return g
}

func (g *guest) alloc(tb testing.TB, m api.Module, n int) uint64 {
	at, err := m.ExportedFunction("policy_alloc").Call(context.Background(), uint64(n))
	if err != nil {
		tb.Fatal(err)
	}
	return at[0]
}

// time gives the nanoseconds that a call takes.
func (g *guest) time(b *testing.B, calls int) float64 {
	start := time.Now()
	for range calls {
		if g.left != nil {
			g.left.Set(budget)
		}
		g.stack[0], g.stack[1], g.stack[2] = g.in, g.batch, g.out
		if err := g.score.CallWithStack(context.Background(), g.stack); err != nil {
			b.Fatal(err)
		}
		if g.stack[0] != g.batch {
			b.Fatalf("%d answers, want %d", g.stack[0], g.batch)
		}
		if g.left != nil {
			g.cost = budget - int64(g.left.Get())
		}
	}
	return float64(time.Since(start).Nanoseconds()) / float64(calls)
}

// batchOf is a score batch of ABI v1.
func batchOf(n int) []byte {
	le := binary.LittleEndian
	buf := le.AppendUint16(nil, 1)
	buf = le.AppendUint16(buf, 24)
	for _, v := range []uint32{80, uint32(n), 80, 8, 0} {
		buf = le.AppendUint32(buf, v)
	}
	g := policytest.NewGenerator(1)
	for range n {
		f := g.Facts()
		for _, v := range []uint64{f.OpIndex, f.Extent, f.LengthBytes, uint64(f.NowMicros), uint64(f.WaitingMicros)} {
			buf = le.AppendUint64(buf, v)
		}
		for _, v := range []uint32{f.OpPlace, f.QueuedOps, f.RunningOps, f.RunningSame} {
			buf = le.AppendUint32(buf, v)
		}
		buf = append(buf, byte(f.Kind), byte(f.Phase), byte(f.Origin), f.Attempts, 0, f.LiveReplicas, f.WantReplicas, 0)
		buf = append(buf, f.Class[:]...)
	}
	return buf
}

func defaultPolicy(tb testing.TB) []byte {
	tb.Helper()
	module, err := os.ReadFile("../default/default.wasm")
	if err != nil {
		tb.Fatal(err)
	}
	return module
}

func linkPolicy(tb testing.TB, r wazero.Runtime) {
	ctx := context.Background()
	wasi_snapshot_preview1.MustInstantiate(ctx, r)
	_, err := r.NewHostModuleBuilder("datanode").
		NewFunctionBuilder().WithFunc(func(context.Context, uint32, uint32) {}).Export("log").
		NewFunctionBuilder().WithFunc(func(context.Context, uint32, uint32, uint32,
		uint32) uint32 {
		return math.MaxUint32
	}).Export("config_get").
		NewFunctionBuilder().WithFunc(func(context.Context, uint32, uint32, uint64) {}).Export("counter_add").
		Instantiate(ctx)
	if err != nil {
		tb.Fatal(err)
	}
}

// buildGo compiles a policy as its author would.
func buildGo(tb testing.TB, dir string) []byte {
	tb.Helper()
	out := filepath.Join(tb.TempDir(), "policy.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, dir)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%v: %v\n%s", cmd, err, text)
	}
	module, err := os.ReadFile(out)
	if err != nil {
		tb.Fatal(err)
	}
	return module
}

// BenchmarkInstrument is the rewriting alone.
func BenchmarkInstrument(b *testing.B) {
	for name, module := range map[string][]byte{
		"default": defaultPolicy(b),
		"go":      buildGo(b, "../../examples/policies/least-redundant-first"),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(module)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := meter.Instrument(module); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
