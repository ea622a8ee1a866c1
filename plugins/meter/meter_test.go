package meter_test

import (
	"context"
	"testing"

	"github.com/datanode/datanode/plugins/meter"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// The default policy counts the same in both engines, and stops when its budget is spent.
func TestDefaultCounts(t *testing.T) {
	ctx := context.Background()
	code, err := meter.Instrument(defaultPolicy(t))
	if err != nil {
		t.Fatal(err)
	}
	var costs []int64
	for _, c := range []wazero.RuntimeConfig{wazero.NewRuntimeConfigCompiler(), wazero.NewRuntimeConfigInterpreter()} {
		r := wazero.NewRuntimeWithConfig(ctx, c)
		defer r.Close(ctx)
		m, err := r.Instantiate(ctx, code)
		if err != nil {
			t.Fatal(err)
		}
		left := m.ExportedGlobal(meter.Export).(api.MutableGlobal)
		left.Set(1 << 40)
		if _, err := m.ExportedFunction("policy_alloc").Call(ctx, 43032); err != nil {
			t.Fatal(err)
		}
		costs = append(costs, 1<<40-int64(left.Get()))
		left.Set(1)
		if _, err := m.ExportedFunction("policy_alloc").Call(ctx, 43032); err == nil || int64(left.Get()) >= 0 {
			t.Errorf("with a budget of 1: %v, %d are left", err, int64(left.Get()))
		}
	}
	if costs[0] != costs[1] || costs[0] <= 0 {
		t.Errorf("the compiler counts %d, the interpreter %d", costs[0], costs[1])
	}
}
