package plugins

import (
	"context"
	"slices"

	"github.com/datanode/datanode/plugins/meter"
	"github.com/datanode/datanode/policies"
)

// Report is what the gate measured of a module that passed. Costs are in units of package meter and
// the same everywhere; times and memory are those of this machine, at that moment.
type Report struct {
	Digest  string   `json:"digest"`
	Name    string   `json:"name"`
	Version string   `json:"version"`
	Reasons []string `json:"reasons"`

	ModuleBytes  int      `json:"module_bytes"`
	MeteredBytes int      `json:"metered_bytes"` // without custom sections, with the code that counts
	MachineBytes int64    `json:"machine_bytes"` // what the compiler made of that; 0 without a cache
	Functions    int      `json:"functions"`     // with the imported ones
	Imports      []string `json:"imports"`       // such as datanode.log

	MemoryPages     uint32 `json:"memory_pages"`      // of 64 KiB, that it begins with
	MemoryPagesUsed uint32 `json:"memory_pages_used"` // that it has after the self-test

	Budget    policies.Budget `json:"budget"`     // that it was held to
	StartCost uint64          `json:"start_cost"` // of one instance, until it is asked
	StartMost uint64          `json:"start_most"` // of the dearest of the calls that start one
	Scores    Measured        `json:"scores"`
	Conflicts Measured        `json:"conflicts"`

	// Counters are what it counted with counter_add while one instance was asked about all samples, twice.
	Counters map[string]int64 `json:"counters,omitempty"`

	MeterVersion   int    `json:"meter_version"`
	CompileNanos   int64  `json:"compile_ns"`
	GateNanos      int64  `json:"gate_ns"`
	FromCache      bool   `json:"from_cache"`       // it passed before; times but gate_ns are of then
	ChildPeakBytes int64  `json:"child_peak_bytes"` // resident; 0 without a child, or from the cache
	ChildNanos     int64  `json:"child_ns"`         // of processor time; as child_peak_bytes
	Unlimited      string `json:"unlimited"`        // why no limits held the compiler; empty if they did
}

// Measured is what answering the samples took.
type Measured struct {
	Samples     int     `json:"samples"`
	CostP50     uint64  `json:"cost_p50"` // of a record that is asked alone
	CostMax     uint64  `json:"cost_max"`
	NanosP50    int64   `json:"ns_p50"`
	NanosMax    int64   `json:"ns_max"`
	BatchCost   uint64  `json:"batch_cost"` // a record, in one batch of all samples
	BatchNanos  int64   `json:"batch_ns"`
	BudgetShare float64 `json:"budget_share"` // of the call that came closest to its budget, 0 to 1
}

// reportOf is what is known of a module before it runs.
func reportOf(h *Host, p *prepared) *Report {
	r := &Report{
		Digest: p.digest, ModuleBytes: len(p.module), MeteredBytes: len(p.metered), Functions: len(p.layout.functions),
		Imports: p.layout.imports, MemoryPages: p.layout.pages, Budget: h.opts.Budget, MeterVersion: meter.Version,
		Unlimited: h.opts.unlimited,
	}
	if !h.opts.alone {
		r.Unlimited = "compiled in the process that asked"
	}
	return r
}

// alone takes in what records cost one by one.
func (m *Measured) alone(units []uint64, nanos []int64) {
	slices.Sort(units)
	slices.Sort(nanos)
	n := len(units)
	m.Samples = n
	m.CostP50, m.CostMax = units[n/2], units[n-1]
	m.NanosP50, m.NanosMax = nanos[n/2], nanos[n-1]
}

// batch takes in what all of them cost together.
func (m *Measured) batch(b policies.Budget, cost uint64, nanos int64) {
	n := uint64(m.Samples)
	m.BatchCost, m.BatchNanos = cost/n, nanos/int64(n)
	m.BudgetShare = max(float64(cost)/float64(ofCall(b, m.Samples)), float64(m.CostMax)/float64(ofCall(b, 1)))
}

// report takes over what was measured of the first instance.
func (t *transcript) report(r *Report, info policies.Info) {
	r.Name, r.Version, r.Reasons = info.Name, info.Version, info.Reasons
	r.StartCost, r.StartMost, r.MemoryPagesUsed = t.started, t.dearest, t.memoryBytes/pageBytes
	r.Scores.batch(r.Budget, t.scoresAgain.cost, t.scoresAgain.nanos)
	r.Conflicts.batch(r.Budget, t.again.cost, t.again.nanos)
}

const pageBytes = 64 << 10

// Report is what was measured of the module when it was tried out, with its configuration.
func (m *Module) Report() Report { return *m.report }

// Check puts a module through the gate, as Compile does, and says what was measured. A *LoadError
// says why it was refused. Nothing is left running.
func (h *Host) Check(ctx context.Context, module []byte) (Report, error) {
	m, report, err := h.pass(ctx, module, nil)
	if err != nil {
		return Report{}, err
	}
	return *report, m.Close(context.WithoutCancel(ctx))
}
