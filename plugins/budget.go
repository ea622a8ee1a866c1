package plugins

import (
	"cmp"
	"context"
	"fmt"

	"github.com/datanode/datanode/policies"
)

// The units of a policies.Budget are those of package meter: at most the instructions that run, in practice a tenth of
// a nanosecond each for compiled C, less for Go, and about a third for the tightest loop there is. The count is the
// same on every machine, so all nodes of a cell must use the same budget: then a batch that overruns on one overruns
// on all.
//
// A batch of 256 scores takes 49 thousand units of the default policy in C and 0.5 million of a small policy in Go; the
// default budget for it is 42 million, which bounds a loop to some 15 ms.
const (
	// defaultBatch has room for the garbage collection of a Go guest, which comes once in many batches and takes 10 to
	// 23 million.
	defaultBatch  = 32 << 20
	defaultRecord = 32 << 10
	// defaultStart is for each of _initialize, policy_init, policy_describe and policy_alloc. A Go guest takes
	// 20 million to set up its heap, its scheduler and its packages.
	defaultStart = 256 << 20
)

// maxBudget keeps sums of budgets far from what an int64 holds.
const maxBudget = 1 << 48

// orDefault is a budget with the defaults in place of zeros.
func orDefault(b policies.Budget) policies.Budget {
	return policies.Budget{
		Batch: cmp.Or(b.Batch, defaultBatch), Record: cmp.Or(b.Record, defaultRecord), Start: cmp.Or(b.Start, defaultStart),
	}
}

func checkBudget(b policies.Budget) error {
	if most := max(b.Batch, b.Record, b.Start); most > maxBudget {
		return fmt.Errorf("plugins: a budget of %d units, the most is %d", most, uint64(maxBudget))
	}
	return nil
}

// ofCall is the budget for one call with n records.
func ofCall(b policies.Budget, n int) uint64 { return b.Batch + b.Record*uint64(n) }

// The settings of a cell that hold the budget. Who reads that a budget is spent wants to know what to raise.
const (
	SettingBatch  = "policy-batch-budget"
	SettingRecord = "policy-record-budget"
	SettingStart  = "policy-start-budget"
)

// settingsOf are the settings that bound a call of an export.
func settingsOf(export string) string {
	if export == exportScore || export == exportConflict {
		return SettingBatch + ", " + SettingRecord
	}
	return SettingStart
}

// Within is the module held to a budget, in place of its host's. It shares all else with m, and costs nothing:
// make one for each call. An instance that took more to start than b allows is not asked under b; a new
// one overruns then, as on a node that has started since.
func (m *Module) Within(b policies.Budget) policies.Policy { return &within{m, orDefault(b)} }

// within is a module held to a budget.
type within struct {
	*Module
	budget policies.Budget
}

func (w *within) Score(ctx context.Context, facts []policies.Facts, out []policies.Score) (uint64, error) {
	return w.score(ctx, w.budget, facts, out)
}

func (w *within) Conflict(ctx context.Context, pairs []policies.Pair, out []policies.Resolution) (uint64, error) {
	return w.conflict(ctx, w.budget, pairs, out)
}

// Fits reports whether a budget allows what the module took when it was tried out. If not, the error is a
// *LoadError that says how much it took, and what to raise.
func (m *Module) Fits(b policies.Budget) error {
	b = orDefault(b)
	r := m.report
	if r.StartMost > b.Start {
		return refuse(TooSlow, "starting it takes %d units in one call, and its budget is %d (%s)", r.StartMost, b.Start,
			SettingStart)
	}
	for _, t := range []struct {
		export string
		took   Measured
	}{{exportScore, r.Scores}, {exportConflict, r.Conflicts}} {
		n := uint64(t.took.Samples)
		if whole := t.took.BatchCost * n; whole > ofCall(b, int(n)) {
			return refuse(TooSlow,
				"%s takes %d units for %d records, and its budget for them is %d (%s)",
				t.export, whole, n, ofCall(b, int(n)), settingsOf(t.export))
		}
		if one := t.took.CostMax; one > ofCall(b, 1) {
			return refuse(TooSlow,
				"%s takes %d units for one record, and its budget for that is %d (%s)",
				t.export, one, ofCall(b, 1), settingsOf(t.export))
		}
	}
	return nil
}
