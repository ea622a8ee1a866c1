package author

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/policies/policytest"
)

const policyBenchHelp = `Measure what a decision takes, in batches of 1, 64 and 256, for scores and for conflicts, on
made-up facts that are the same in every run.

  NS        nanoseconds a decision, on average; P50 and MAX are of single calls, by the decision, and hold some
            50 ns a call for reading the clock
  COST      units of metered work a decision: the same on every machine
  BUDGET    the share of a call's budget that the most expensive call took
  MEMORY    of an instance

--against measures a second policy in the same run, in turns with the first; RATIO is then how many times as long a
decision takes. Times are of this machine; use an otherwise idle one.

`

const (
	defaultPolicyBench = 200 * time.Millisecond
	// benchBatches are different ones of each size, asked in turn.
	benchBatches = 16
	// benchTurns is how often policies that are compared take turns.
	benchTurns = 4
	// maxBenchCalls of one turn; more of them say nothing more.
	maxBenchCalls = 100_000
	benchSeed     = 1
	pageBytes     = 64 << 10
)

// benched is one line of policy bench: decisions of one policy, in batches of one size.
type benched struct {
	Policy      string  `json:"policy"`
	Asked       string  `json:"asked"` // score or conflict
	Batch       int     `json:"batch"`
	Calls       int     `json:"calls"`
	Nanos       float64 `json:"ns"` // a decision, as all that follows
	NanosP50    float64 `json:"ns_p50"`
	NanosMax    float64 `json:"ns_max"`
	Cost        float64 `json:"cost"`
	CostMax     float64 `json:"cost_max"`
	BudgetShare float64 `json:"budget_share"` // of the most expensive call, 0 to 1
	MemoryBytes int64   `json:"memory_bytes"` // of an instance
	Ratio       float64 `json:"ratio"`        // of ns, to the last policy measured beside it; 0 without one
}

func newPolicyBenchCommand(a tools) *cobra.Command {
	var against string
	var each time.Duration
	var flags offlineFlags
	cmd := &cobra.Command{
		Use: "bench [MODULE]", Short: "Measure what a policy's decisions take", Args: cli.Takes(0, 1),
		Long: policyBenchHelp + moduleHelp,
		Example: "  datanode policy bench mine.wasm\n  datanode policy bench mine.wasm --against native\n" +
			"  datanode policy bench new.wasm --against old.wasm -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := a.Bounded(cmd.Context())
			defer cancel()
			if each <= 0 {
				return exit.Usagef("--each %s: want more than 0", each)
			}
			o, err := flags.parse()
			if err != nil {
				return err
			}
			names := []string{argOr(args, ".")}
			if against != "" {
				names = append(names, against)
			}
			return a.TimedOut(ctx, a.benchPolicies(ctx, names, o, each))
		},
		ValidArgsFunction: CompleteModules,
	}
	cmd.Flags().StringVar(&against, "against", "", "a second MODULE to compare with")
	cmd.Flags().DurationVar(&each, "each", defaultPolicyBench, "how long each line is measured")
	flags.add(cmd)
	return cmd
}

// benchSubject is a policy that is measured.
type benchSubject struct {
	name   string
	policy policies.Policy
	budget policies.Budget // of zeros if there is none
	memory int64
}

func (a tools) benchPolicies(ctx context.Context, names []string, o offline, each time.Duration) error {
	config := o.config
	return a.withHost(ctx, o.budget, func(h *plugins.Host) error {
		var subjects []benchSubject
		for i, name := range names {
			s, err := a.benchSubject(ctx, h, name, config)
			if err != nil {
				return err
			}
			if i > 0 && s.name == subjects[0].name {
				s.name = name // a name that tells them apart
			}
			subjects = append(subjects, s)
			config = nil // it is the first one's
		}
		rows, err := measurePolicies(ctx, subjects, each)
		if err != nil {
			return err
		}
		return term.List(a.Terminal, term.Items(rows), benchColumns()...)
	})
}

func (a tools) benchSubject(ctx context.Context, h *plugins.Host, name string,
	config map[string]string) (s benchSubject, err error) {
	module, err := a.moduleOf(ctx, name)
	if err != nil {
		return s, err
	}
	if module == nil {
		return benchSubject{name: moduleNative, policy: policies.Native()}, nil
	}
	m, err := h.CompileWith(ctx, module, config) // the host closes it
	if err != nil {
		return s, fmt.Errorf("%s: %w", name, err)
	}
	if err := policies.CheckConfigSchema(m.ConfigSchema(), config); err != nil {
		return s, exit.Usagef("%s: %w", name, err)
	}
	report := m.Report()
	return benchSubject{report.Name, m, report.Budget, int64(report.MemoryPagesUsed) * pageBytes}, nil
}

func benchColumns() []term.Column[benched] {
	ns := func(of func(benched) float64) func(benched) string {
		return func(b benched) string { return fmt.Sprintf("%.0f", of(b)) }
	}
	metered := func(text func(benched) string) func(benched) string {
		return func(b benched) string {
			if b.MemoryBytes == 0 {
				return "-" // not a module
			}
			return text(b)
		}
	}
	return []term.Column[benched]{
		term.Col("POLICY", func(b benched) string { return b.Policy }),
		term.Col("ASKED", func(b benched) string { return b.Asked }),
		term.Col("BATCH", func(b benched) string { return term.Count(b.Batch) }),
		term.Col("NS", func(b benched) string { return fmt.Sprintf("%.1f", b.Nanos) }),
		term.Col("P50", ns(func(b benched) float64 { return b.NanosP50 })),
		term.Col("MAX", ns(func(b benched) float64 { return b.NanosMax })),
		term.Col("COST", metered(ns(func(b benched) float64 { return b.Cost }))),
		term.Col("COST-MAX", metered(ns(func(b benched) float64 { return b.CostMax }))),
		term.Col("BUDGET", metered(func(b benched) string { return fmt.Sprintf("%.2f%%", 100*b.BudgetShare) })),
		term.Col("MEMORY", metered(func(b benched) string { return fmt.Sprintf("%.1fMiB", float64(b.MemoryBytes)/(1<<20)) })),
		term.Col("RATIO", func(b benched) string {
			if b.Ratio == 0 {
				return "-"
			}
			return fmt.Sprintf("%.2f", b.Ratio)
		}),
	}
}

// benchAsk asks a policy one of the batches, and gives what that cost.
type benchAsk func(ctx context.Context, p policies.Policy, turn int) (cost uint64, err error)

// measurePolicies measures all policies with the same batches.
func measurePolicies(ctx context.Context, subjects []benchSubject, each time.Duration) ([]benched, error) {
	var rows []benched
	for _, asked := range []string{"score", "conflict"} {
		for _, batch := range []int{1, 64, 256} {
			group, err := measureInTurns(ctx, subjects, benchAsker(asked, batch), batch, each)
			if err != nil {
				return nil, err
			}
			for i := range group {
				group[i].Asked = asked
			}
			rows = append(rows, group...)
		}
	}
	return rows, nil
}

func benchAsker(asked string, batch int) benchAsk {
	g := policytest.NewGenerator(benchSeed)
	if asked == "score" {
		facts, out := make([][]policies.Facts, benchBatches), make([]policies.Score, batch)
		for i := range facts {
			for range batch {
				facts[i] = append(facts[i], g.Facts())
			}
		}
		return func(ctx context.Context, p policies.Policy, turn int) (uint64, error) {
			return p.Score(ctx, facts[turn%benchBatches], out)
		}
	}
	pairs, out := make([][]policies.Pair, benchBatches), make([]policies.Resolution, batch)
	for i := range pairs {
		for range batch {
			pairs[i] = append(pairs[i], g.Pair())
		}
	}
	return func(ctx context.Context, p policies.Policy, turn int) (uint64, error) {
		return p.Conflict(ctx, pairs[turn%benchBatches], out)
	}
}

// benchSamples are what one policy's calls took.
type benchSamples struct {
	calls  int
	taken  time.Duration // of calls that were not timed one by one
	single []int64       // nanoseconds of those that were
	cost   uint64
	most   uint64
}

// measureInTurns lets the policies take turns, so that a machine that slows down slows all of them.
func measureInTurns(ctx context.Context, subjects []benchSubject, ask benchAsk, batch int,
	each time.Duration) ([]benched, error) {
	all := make([]benchSamples, len(subjects))
	for range benchTurns {
		for i, s := range subjects {
			if err := all[i].measure(ctx, s.policy, ask, each/benchTurns); err != nil {
				return nil, err
			}
		}
	}
	rows := make([]benched, len(subjects))
	for i, s := range subjects {
		rows[i] = all[i].row(s, batch)
	}
	if last := rows[len(rows)-1].Nanos; len(rows) > 1 && last > 0 {
		for i := range rows {
			rows[i].Ratio = rows[i].Nanos / last
		}
	}
	return rows, nil
}

// measure asks for half of the time with hardly a look at the clock, and for the other half call by call. Either is
// done once at least.
func (s *benchSamples) measure(ctx context.Context, p policies.Policy, ask benchAsk, each time.Duration) error {
	const between = 16 // calls from one look at the clock to the next
	began := time.Now()
	for calls := 0; calls == 0 || time.Since(began) < each/2 && calls < maxBenchCalls; {
		for range between {
			cost, err := ask(ctx, p, calls)
			if err != nil {
				return err
			}
			calls++
			s.calls++
			s.cost, s.most = s.cost+cost, max(s.most, cost)
		}
	}
	s.taken += time.Since(began)
	began = time.Now()
	last := began
	for n := 0; n == 0 || last.Sub(began) < each/2 && n < maxBenchCalls; n++ {
		if _, err := ask(ctx, p, n); err != nil {
			return err
		}
		now := time.Now()
		s.single = append(s.single, int64(now.Sub(last)))
		last = now
	}
	return ctx.Err()
}

func (s *benchSamples) row(of benchSubject, batch int) benched {
	slices.Sort(s.single)
	decisions := float64(s.calls * batch)
	r := benched{
		Policy: of.name, Batch: batch, Calls: s.calls, MemoryBytes: of.memory,
		Nanos: float64(s.taken) / decisions, Cost: float64(s.cost) / decisions, CostMax: float64(s.most) / float64(batch),
	}
	if n := len(s.single); n > 0 {
		r.NanosP50, r.NanosMax = float64(s.single[n/2])/float64(batch), float64(s.single[n-1])/float64(batch)
	}
	if of.budget.Batch > 0 {
		r.BudgetShare = float64(s.most) / float64(of.budget.Batch+of.budget.Record*uint64(batch))
	}
	return r
}

const benchPolicyHelp = `Measure the native default, the same rules as a module, and further modules, in turns. As
policy bench does for one; RATIO is to the last one named, the native default. Needs no cell. The comparison with CEL
and Rego is in the source tree: cd plugins/bench && go test -bench .

`

// BenchCommand compares policies with the native default.
func BenchCommand(of *cli.App) *cobra.Command {
	a := tools{of}
	var each time.Duration
	cmd := &cobra.Command{
		Use: "policy [MODULE ...]", Short: "Measure what decisions take", Long: benchPolicyHelp + moduleHelp,
		Example: "  datanode bench policy\n  datanode bench policy mine.wasm --each 5s",
		Args:    cli.Takes(0, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if each <= 0 {
				return exit.Usagef("--each %s: want more than 0", each)
			}
			ctx, cancel := a.Bounded(cmd.Context())
			defer cancel()
			names := append(append([]string{moduleDefault}, args...), moduleNative)
			return a.TimedOut(ctx, a.benchPolicies(ctx, names, offline{}, each))
		},
		ValidArgsFunction: CompleteModules,
	}
	cmd.Flags().DurationVar(&each, "each", defaultPolicyBench, "how long each line is measured")
	return cmd
}
