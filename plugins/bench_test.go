package plugins

import (
	"context"
	"testing"

	"github.com/datanode/datanode/plugins/meter"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/policies/policytest"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// The whole gate: in a child, from the cache, and in this process.
func BenchmarkLoad(b *testing.B) {
	for name, module := range map[string][]byte{"small": Default(), "Go": buildChatty(b)} {
		load := func(b *testing.B, h *Host) Report {
			r, err := h.Check(context.Background(), module)
			if err != nil {
				b.Fatal(err)
			}
			return r
		}
		b.Run(name+"/cold", func(b *testing.B) {
			for b.Loop() {
				h := newHost(b, Options{Child: childCommand(b)})
				r := load(b, h)
				b.ReportMetric(float64(r.ChildPeakBytes)/mib, "child-MiB")
				b.ReportMetric(float64(r.ChildNanos)/1e6, "child-ms")
			}
		})
		b.Run(name+"/cached", func(b *testing.B) {
			h := newHost(b, Options{CacheDir: b.TempDir()})
			load(b, h)
			for b.Loop() {
				if !load(b, h).FromCache {
					b.Fatal("not from the cache")
				}
			}
		})
		b.Run(name+"/in-process", func(b *testing.B) {
			for b.Loop() {
				load(b, newHost(b, Options{}))
			}
		})
	}
}

// What counting costs: the guest's part of a batch, with and without.
func BenchmarkMetering(b *testing.B) {
	ctx := context.Background()
	h := newHost(b, Options{})
	for name, module := range map[string][]byte{"default": Default(), "Go": buildChatty(b)} {
		p, err := h.prepare(module)
		if err != nil {
			b.Fatal(err)
		}
		for how, code := range map[string][]byte{"plain": p.layout.code, "metered": p.metered} {
			for size, n := range map[string]int{"1": 1, "256": 256} {
				b.Run(name+"/"+how+"/"+size, func(b *testing.B) { benchmarkGuest(ctx, b, h, p, code, n) })
			}
		}
	}
}

func benchmarkGuest(ctx context.Context, b *testing.B, h *Host, p *prepared, code []byte, n int) {
	e, err := h.compile(ctx, code, "")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = e.close(ctx) }()
	guest, err := e.runtime.InstantiateModule(ctx, e.compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		b.Fatal(err)
	}
	left, metered := guest.ExportedGlobal(meter.Export).(api.MutableGlobal)
	i := &instance{module: newModule(h, e, p, nil), guest: guest, left: left}
	ctx = context.WithValue(ctx, instanceKey{}, i)
	call := func(name string, args ...uint64) uint64 {
		if metered {
			left.Set(1 << 40)
		}
		results, err := guest.ExportedFunction(name).Call(ctx, args...)
		if err != nil {
			b.Fatal(err)
		}
		return append(results, 0)[0]
	}
	if !metered { // host functions charge for themselves
		i.left = freeGlobal{}
	}
	if i.module.layout.initialize {
		call(exportInitialize)
	}
	in, out := call(exportAlloc, inBytes), call(exportAlloc, outBytes)
	g := policytest.NewGenerator(1)
	batch := appendHeader(nil, scoreHeader(n))
	for range n {
		f := g.Facts()
		f.QueuedOps = 0 // asks chatty for nothing
		batch = AppendFacts(batch, &f)
	}
	guest.Memory().Write(uint32(in), batch)
	score := guest.ExportedFunction(exportScore)
	stack := make([]uint64, 3)
	for b.Loop() {
		if metered {
			left.Set(1 << 40)
		}
		stack[0], stack[1], stack[2] = in, uint64(n), out
		if err := score.CallWithStack(ctx, stack); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/record")
}

// freeGlobal has always enough left.
type freeGlobal struct{ api.MutableGlobal }

func (freeGlobal) Get() uint64 { return 1 << 40 }
func (freeGlobal) Set(uint64)  {}

func BenchmarkScore(b *testing.B) {
	benchmarkScore(b, compile(b, newHost(b, Options{}), Default()))
}

func benchmarkScore(b *testing.B, m *Module) {
	ctx := context.Background()
	for name, n := range map[string]int{"1": 1, "256": 256} {
		b.Run(name, func(b *testing.B) {
			g := policytest.NewGenerator(1)
			facts, out := make([]policies.Facts, n), make([]policies.Score, n)
			for i := range facts {
				facts[i] = g.Facts()
				facts[i].QueuedOps = 0 // asks chatty for nothing
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.Score(ctx, facts, out); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/record")
		})
	}
}
