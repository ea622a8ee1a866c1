package meter_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/datanode/datanode/plugins/meter"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// policyFeatures are what the host compiles modules with.
const policyFeatures = api.CoreFeaturesV2 &^ api.CoreFeatureSIMD

// engines are the two that must count alike.
func engines() map[string]wazero.RuntimeConfig {
	common := func(c wazero.RuntimeConfig) wazero.RuntimeConfig {
		return c.WithCoreFeatures(policyFeatures).WithMemoryLimitPages(256).WithCloseOnContextDone(true)
	}
	return map[string]wazero.RuntimeConfig{
		"compiler":    common(wazero.NewRuntimeConfigCompiler()),
		"interpreter": common(wazero.NewRuntimeConfigInterpreter()),
	}
}

// hung is after how long a call is ended that should have ended by itself.
const hung = 5 * time.Second

// plenty is a budget that nothing here can spend.
const plenty = 1 << 60

// outcome is what can be seen of a call of run.
type outcome struct {
	results []uint64
	trap    string // first line of the error; empty when it returned
	memory  string
	left    int64 // of the budget; 0 without metering
}

// fataler is a *testing.T, or a *rapid.T.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// instance is a module that runs in one engine.
type instance struct {
	runtime wazero.Runtime
	module  api.Module
}

func newInstance(tb fataler, c wazero.RuntimeConfig, code []byte) *instance {
	tb.Helper()
	return newInstanceCalling(tb, c, code, func(api.Module) {})
}

// newInstanceCalling has what a module calls of the host done by called.
func newInstanceCalling(tb fataler, c wazero.RuntimeConfig, code []byte, called func(api.Module)) *instance {
	tb.Helper()
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, c)
	if _, err := r.NewHostModuleBuilder("host").NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, m api.Module, _ []uint64) { called(m) }), nil, nil).
		Export("called").Instantiate(ctx); err != nil {
		tb.Fatal(err)
	}
	m, err := r.Instantiate(ctx, code)
	if err != nil {
		r.Close(ctx)
		tb.Fatalf("%v\n%x", err, code)
	}
	return &instance{r, m}
}

func (i *instance) close() { i.runtime.Close(context.Background()) }

func (i *instance) run(budget int64, args ...uint64) outcome {
	left, metered := i.module.ExportedGlobal(meter.Export).(api.MutableGlobal)
	if metered {
		left.Set(uint64(budget))
	}
	ctx, cancel := context.WithTimeout(context.Background(), hung)
	defer cancel()
	results, err := i.module.ExportedFunction("run").Call(ctx, args...)
	o := outcome{results: results}
	if err != nil {
		o.trap, _, _ = strings.Cut(err.Error(), "\n")
	}
	if metered {
		o.left = int64(left.Get())
	}
	if memory := i.module.Memory(); memory != nil {
		bytes, _ := memory.Read(0, min(memory.Size(), 64))
		o.memory = fmt.Sprintf("%d %x", memory.Size(), bytes)
	}
	return o
}

func (o outcome) same(other outcome) bool {
	return slices.Equal(o.results, other.results) && o.trap == other.trap && o.memory == other.memory
}

// differs says how a module does something else once it is metered, or counts differently in the two
// engines, when it is called with one tuple of arguments after the other. It gives the last cost too.
func differs(tb fataler, code []byte, calls ...[]uint64) (cost int64, difference string) {
	tb.Helper()
	metered, err := meter.Instrument(code)
	if err != nil {
		tb.Fatalf("%v\n%x", err, code)
	}
	costs := map[string][]int64{}
	for name, c := range engines() {
		plain, counting := newInstance(tb, c, code), newInstance(tb, c, metered)
		for _, args := range calls {
			want, have := plain.run(0, args...), counting.run(plenty, args...)
			if !want.same(have) && difference == "" {
				difference = fmt.Sprintf("%s, %#x:\n  plain %+v\nmetered %+v", name, args, want, have)
			}
			cost = plenty - have.left
			costs[name] = append(costs[name], cost)
		}
		plain.close()
		counting.close()
	}
	if !slices.Equal(costs["compiler"], costs["interpreter"]) || slices.Min(costs["compiler"]) <= 0 {
		difference += fmt.Sprintf("\ncosts %v", costs)
	}
	return cost, difference
}

// valid reports whether the compiler takes a module.
func valid(code []byte) bool {
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, engines()["interpreter"])
	defer r.Close(ctx)
	_, err := r.CompileModule(ctx, code)
	return err == nil
}
