package plugins

import "fmt"

// Budget is how much metered work a call may take, in the units of package meter: at most the
// instructions that run, in practice a tenth of a nanosecond each for compiled C, less for Go, and
// about a third for the tightest loop there is. The count is the same on every machine, so all nodes
// of a cell must use the same budget: then a batch that overruns on one overruns on all.
//
// A batch of 256 scores takes 49 thousand units of the default policy in C and 0.5 million of a
// small policy in Go; the default budget for it is 42 million, which bounds a loop to some 15 ms.
type Budget struct {
	// Batch is for a call, however many records it is handed. It has room for the garbage collection
	// of a Go guest, which comes once in many batches and takes 10 to 23 million. 0 means 32 Mi.
	Batch uint64 `json:"batch"`
	// Record is for each record of a batch besides. 0 means 32 Ki.
	Record uint64 `json:"record"`
	// Start is for each of _initialize, policy_init, policy_describe and policy_alloc. A Go guest takes
	// 20 million to set up its heap, its scheduler and its packages. 0 means 256 Mi.
	Start uint64 `json:"start"`
}

// maxBudget keeps sums of budgets far from what an int64 holds.
const maxBudget = 1 << 48

func (b Budget) withDefaults() Budget {
	if b.Batch == 0 {
		b.Batch = 32 << 20
	}
	if b.Record == 0 {
		b.Record = 32 << 10
	}
	if b.Start == 0 {
		b.Start = 256 << 20
	}
	return b
}

func (b Budget) valid() error {
	if most := max(b.Batch, b.Record, b.Start); most > maxBudget {
		return fmt.Errorf("plugins: a budget of %d units, the most is %d", most, uint64(maxBudget))
	}
	return nil
}

// of is the budget for a batch of n records.
func (b Budget) of(n int) uint64 { return b.Batch + b.Record*uint64(n) }
