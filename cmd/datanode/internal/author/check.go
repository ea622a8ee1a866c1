package author

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/policies"
	"github.com/spf13/cobra"
)

// Checked is what policy check says of a module that is accepted.
type Checked struct {
	Accepted bool `json:"accepted"`
	plugins.Report
	Config map[string]string `json:"config,omitempty"` // that it was measured with
}

// Refused is what it says of one that is not.
type Refused struct {
	Accepted bool               `json:"accepted"`
	Reason   plugins.LoadReason `json:"reason"`
	Detail   string             `json:"detail"`
}

func newPolicyCheckCommand(a tools) *cobra.Command {
	var flags offlineFlags
	cmd := &cobra.Command{
		Use: "check [MODULE]", Short: "Put a module through the load gate, without a cell", Args: cli.Takes(0, 1),
		Long: "Put a module through everything that a node would: structure, imports, limits, compiling, " +
			"and a trial with the configuration and within the budgets given. It says what it measured; " +
			"exit code 4 says that a node would refuse it, and why.\n\n" +
			moduleHelp,
		Example: "  datanode policy check mine.wasm\n  datanode policy check default -o json\n" +
			"  datanode policy check mine.wasm --config class=gold --batch-budget 64Mi",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := a.Bounded(cmd.Context())
			defer cancel()
			o, err := flags.parse()
			if err != nil {
				return err
			}
			module, err := a.moduleOf(ctx, argOr(args, "."))
			switch {
			case err != nil:
				err = a.checked(plugins.Report{}, nil, err)
			case module == nil:
				return a.checkedNative()
			default:
				err = a.withHost(ctx, o.budget, func(h *plugins.Host) error { return a.checkModule(ctx, h, module, o.config) })
			}
			return a.TimedOut(ctx, err)
		},
		ValidArgsFunction: CompleteModules,
	}
	flags.add(cmd)
	return cmd
}

func (a tools) checkModule(ctx context.Context, h *plugins.Host, module []byte, config map[string]string) error {
	var report plugins.Report
	err := withPolicy(ctx, h, module, config, func(p policies.Policy) error {
		report = p.(*plugins.Module).Report() // there are bytes, so it is one
		return nil
	})
	return a.checked(report, config, err)
}

func (a tools) checkedNative() error {
	info := policies.Native().Info()
	a.Note("the native policy is part of this program; there is nothing to check")
	return term.Show(a.Terminal, struct {
		Name    string   `json:"name"`
		Version string   `json:"version"`
		Digest  string   `json:"digest"`
		Reasons []string `json:"reasons"`
	}{info.Name, info.Version, info.Digest, info.Reasons},
		append([]term.Field{{"name", info.Name}, {"version", info.Version}}, ReasonFields(info.Reasons)...))
}

// checked prints the outcome of the gate. A refusal is data to a script, and an error besides.
func (a tools) checked(r plugins.Report, config map[string]string, err error) error {
	if no := (*plugins.LoadError)(nil); errors.As(err, &no) && a.Output != term.FormatTable {
		return errors.Join(term.Show(a.Terminal, Refused{false, no.Reason, no.Detail}, nil), err)
	}
	if err != nil {
		return err
	}
	return term.Show(a.Terminal, Checked{true, r, config}, append(reportFields(r, config), ReasonFields(r.Reasons)...))
}

func reportFields(r plugins.Report, config map[string]string) []term.Field {
	fields := []term.Field{
		{"accepted", "a node of this version would load it"},
		{"name", r.Name},
		{"version", r.Version},
		{"digest", r.Digest},
		{"module", fmt.Sprintf("%d bytes, %d functions; %d bytes once it counts its work, %d compiled", r.ModuleBytes,
			r.Functions, r.MeteredBytes, r.MachineBytes)},
		{"imports", importsText(r.Imports)},
		{"memory", fmt.Sprintf("%s an instance, %s at its start", mebibytes(uint64(r.MemoryPagesUsed)*pageBytes),
			mebibytes(uint64(r.MemoryPages)*pageBytes))},
		{"start cost", fmt.Sprintf("%d units; at most %s of a call's budget", r.StartCost,
			term.Percent(float64(r.StartMost)/float64(r.Budget.Start)))},
		{"scores", measuredText(r.Scores)},
		{"conflicts", measuredText(r.Conflicts)},
		{"counted", CountersText(r.Counters)},
		{"budget", budgetText(r.Budget)},
		{"gate", gateText(r)},
	}
	if len(config) > 0 {
		fields = append(fields, term.Field{"config", policies.ConfigText(config)})
	}
	if r.Unlimited != "" {
		fields = append(fields, term.Field{"no limits", r.Unlimited})
	}
	return fields
}

// CountersText is what a policy has counted, by name.
func CountersText(counters map[string]int64) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		words = append(words, fmt.Sprintf("%s %d", name, counters[name]))
	}
	return strings.Join(words, ", ")
}

// importsText names what a policy asks of its host. Of WASI, which compilers bring along, it is enough to know
// that it is there.
func importsText(imports []string) string {
	var own []string
	wasi := 0
	for _, name := range imports {
		if strings.HasPrefix(name, "wasi_") {
			wasi++
		} else {
			own = append(own, name)
		}
	}
	if wasi > 0 {
		own = append(own, plural(wasi, "function")+" of WASI")
	}
	return strings.Join(own, ", ")
}

func measuredText(m plugins.Measured) string {
	return fmt.Sprintf(
		"%d samples; alone %d units, at most %d; in one batch %d units and %d ns each; at most %s of a call's budget",
		m.Samples, m.CostP50, m.CostMax, m.BatchCost, m.BatchNanos, term.Percent(m.BudgetShare))
}

func gateText(r plugins.Report) string {
	text := fmt.Sprintf("%s, of it compiling %s", shortTime(r.GateNanos), shortTime(r.CompileNanos))
	if r.ChildPeakBytes > 0 {
		text += fmt.Sprintf("; the child took %s of processor time and %s", shortTime(r.ChildNanos),
			mebibytes(uint64(r.ChildPeakBytes)))
	}
	return text
}

func shortTime(nanos int64) string {
	d := time.Duration(nanos)
	if d > 10*time.Millisecond {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}

func mebibytes(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func ReasonFields(reasons []string) []term.Field {
	fields := make([]term.Field, len(reasons))
	for i, r := range reasons {
		fields[i] = term.Field{"reason " + term.Count(i), r}
	}
	return fields
}
