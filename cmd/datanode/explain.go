package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

func newOpExplainCommand(a app) *cobra.Command {
	var extent uint64
	cmd := &cobra.Command{
		Use:   "explain ID... | --extent N",
		Short: "Tell why an operation was decided as it was, and what became of it",
		Long: "Tell what was decided about an operation, by which policy, from which facts, what it waited for, " +
			"and what became of it.",
		Example: "  datanode op explain 4711\n  datanode op explain --extent 12",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			if (len(args) == 0) == (extent == 0) {
				return exit.Usagef(
					"op explain needs either operation IDs, as op ls shows them, or --extent N for all operations of an extent")
			}
			ops := explained(ctx, c, args, extent)
			if a.Output != term.FormatTable && len(args) == 1 {
				o, err := c.Op(ctx, args[0])
				if err != nil {
					return err
				}
				return term.Show(a.Terminal, o, nil)
			}
			if a.Output != term.FormatTable {
				return term.List(a.Terminal, ops)
			}
			first := true
			for o, err := range ops {
				if err != nil {
					return err
				}
				if !first {
					fmt.Fprintln(a.Stdout)
				}
				first = false
				if err := explain(a.Stdout, o); err != nil {
					return err
				}
			}
			return nil
		}),
	}
	cmd.Flags().Uint64Var(&extent, "extent", 0,
		"all operations of this extent, oldest first, as far as the cell keeps them")
	return cmd
}

// explained are the operations to explain, in full: those named, or those of an extent.
func explained(ctx context.Context, c *client.Client, ids []string, extent uint64) iter.Seq2[wire.Op, error] {
	return func(yield func(wire.Op, error) bool) {
		if extent != 0 {
			for o, err := range c.Ops(ctx, wire.OpsRequest{Extent: extent}) {
				if err != nil {
					yield(o, err)
					return
				}
				ids = append(ids, o.ID)
			}
			if len(ids) == 0 {
				yield(wire.Op{}, wire.Errorf(wire.OpOps, wire.CodeNotFound, "no operation on extent %d is kept; see log ls",
					extent))
				return
			}
		}
		for _, id := range ids {
			o, err := c.Op(ctx, id)
			if !yield(o, err) || err != nil {
				return
			}
		}
	}
}

// explain is the account of one operation, in the order in which it happened.
func explain(out io.Writer, o wire.Op) error {
	var b strings.Builder
	explainWhat(&b, o)
	explainDecision(&b, o.Decision)
	explainConflicts(&b, o.Decision.Conflicts)
	explainWaiting(&b, o)
	explainSteps(&b, o)
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("write the output: %w", err)
	}
	return nil
}

// say adds to the account. What nodes and policies say is made printable.
func say(b *strings.Builder, format string, args ...any) {
	b.WriteString(term.Printf(term.Printable, format, args...))
}

func explainWhat(b *strings.Builder, o wire.Op) {
	what := o.Kind
	switch {
	case o.Extent != 0 && o.Node != "":
		what += fmt.Sprintf(" of extent %d from %s", o.Extent, o.Node)
	case o.Extent != 0:
		what += fmt.Sprintf(" of extent %d", o.Extent)
	case o.Node != "":
		what += " of node " + o.Node
	}
	say(b, "Operation %s is a %s, asked for by %s at %s.\n", o.ID, what, asker(o), orNone(term.Stamp(o.Admitted)))
	say(b, "It is %s", o.State)
	if o.Ended != 0 {
		say(b, " since %s", term.Stamp(o.Ended))
	}
	if o.By != "" {
		say(b, ", by operation %s", o.By)
	}
	if o.Detail != "" {
		say(b, ": %s", term.OneLine(o.Detail))
	}
	b.WriteString(".\n")
	if o.Urgent {
		b.WriteString("It is urgent: it waits for no quiet window.\n")
	}
	if o.Source != "" || o.Target != "" {
		say(b, "It copies from %s to %s", orNone(o.Source), orNone(o.Target))
		if o.Fence != 0 {
			say(b, " under fence %d", o.Fence)
		}
		b.WriteString(".\n")
	}
}

func asker(o wire.Op) string {
	if o.AskedBy != "" && o.Origin != "user" { // a node, for the cell
		return "the " + o.Origin + " (" + term.OneLine(o.AskedBy) + ")"
	}
	if o.AskedBy != "" {
		return term.OneLine(o.AskedBy)
	}
	if o.Parent != "" {
		return o.Origin + " (operation " + o.Parent + ")"
	}
	return "the " + o.Origin
}

func explainDecision(b *strings.Builder, d wire.Decision) {
	say(b, "\nDecided by policy %s, epoch %d\n  digest    %s\n  priority  %d: %s\n",
		orNone(d.Policy), d.Epoch, orNone(d.Digest), d.Priority, orNone(d.Reason))
	if len(d.Config) > 0 {
		say(b, "  config    %s\n", term.OneLine(policies.ConfigText(d.Config)))
	}
	switch {
	case d.Cost > 0 && d.Budget > 0:
		say(b, "  cost      %d of %d units (%s)\n", d.Cost, d.Budget, term.Percent(float64(d.Cost)/float64(d.Budget)))
	case d.Cost > 0:
		say(b, "  cost      %d\n", d.Cost) // decided before budgets were recorded
	}
	if d.Fallback != "" {
		say(b, "  fallback  the native default decided instead: %s\n", term.OneLine(d.Fallback))
	}
	if len(d.Facts) == 0 {
		return
	}
	b.WriteString("\nFrom these facts\n")
	width := 0
	for _, f := range d.Facts {
		width = max(width, len(f.Name))
	}
	for _, f := range d.Facts {
		say(b, "  %-*s  %s\n", width, f.Name, orNone(f.Value))
	}
}

func explainConflicts(b *strings.Builder, conflicts []wire.Conflict) {
	if len(conflicts) == 0 {
		b.WriteString("\nIn conflict with nothing.\n")
		return
	}
	b.WriteString("\nIn conflict with\n")
	for _, k := range conflicts {
		say(b, "  %s (%s): ", k.With, k.Kind)
		if k.Overruled {
			say(b, "the policy answered %s, which the envelope overruled: %s", k.Asked, k.Verdict)
		} else {
			say(b, "%s", k.Verdict)
		}
		say(b, ", because %s\n", orNone(k.Reason))
	}
}

func explainWaiting(b *strings.Builder, o wire.Op) {
	if len(o.Waits) > 0 {
		say(b, "\nIt waits for operation %s to end.\n", strings.Join(o.Waits, ", "))
	}
	if o.Blocked != "" {
		say(b, "\nIt does not start now: %s.\n", strings.TrimSuffix(term.OneLine(o.Blocked), "."))
	}
}

func explainSteps(b *strings.Builder, o wire.Op) {
	if len(o.Steps) == 0 {
		return
	}
	say(b, "\nWhat happened, by log index (%d attempts)\n", o.Attempts)
	t := term.Table{Out: b}
	for _, s := range o.Steps {
		t.Row([]string{"  " + term.Count(s.Index), term.Stamp(s.Micros), s.State, term.OneLine(s.Note)})
	}
	t.Flush()
}

func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
