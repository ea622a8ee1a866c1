package main

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

func newOpCommand(a app) *cobra.Command {
	return cli.Group("op", "Ask for operations, list, explain, reorder and cancel them", "",
		newOpListCommand(a), newOpShowCommand(a), newOpExplainCommand(a), newOpCancelCommand(a), newOpReorderCommand(a),
		newOpSubmitCommand(a), newOpEnvelopeCommand(a))
}

func newOpListCommand(a app) *cobra.Command {
	var req wire.OpsRequest
	var limit int
	var blocked bool
	cmd := &cobra.Command{
		Use: "ls", Short: "List operations, oldest first", Args: cli.Takes(0, 0),
		Long: `List operations, oldest first. With --blocked only what waits: since when, for what, and until when where that
can be told. Repairs that the cell does not ask for yet, because a node is down for less than repair-delay or paused,
are there too, a line for each such node, and have no ID.`,
		Example: "  datanode op ls --open\n  datanode op ls --blocked\n  datanode op ls --extent 12 -o jsonl",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, _ []string) error {
			if blocked && (req.Extent != 0 || req.Open) {
				return exit.Usagef("op ls --blocked is of all that waits; it goes with --after and --limit only")
			}
			if blocked {
				return listBlocked(ctx, a, c, req.After, limit)
			}
			return printOps(a, atMost(c.Ops(ctx, req), limit))
		}),
	}
	cmd.Flags().BoolVar(&blocked, "blocked", false, "only what waits, and for what")
	cmd.Flags().BoolVar(&req.Open, "open", false, "only those that have not ended")
	cmd.Flags().Uint64Var(&req.Extent, "extent", 0, "only those about this extent")
	cmd.Flags().StringVar(&req.After, "after", "", "only those with a higher ID")
	cmd.Flags().IntVar(&limit, "limit", 0, "at most this many (default: all)")
	return cmd
}

// atMost are the first items; all of them for 0.
func atMost[T any](all iter.Seq2[T, error], limit int) iter.Seq2[T, error] {
	if limit <= 0 {
		return all
	}
	return func(yield func(T, error) bool) {
		left := limit
		for item, err := range all {
			if !yield(item, err) {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

func printOps(a app, ops iter.Seq2[wire.Op, error]) error {
	return term.List(a.Terminal, ops,
		term.Col("OP", func(o wire.Op) string { return o.ID }),
		term.Col("KIND", func(o wire.Op) string { return o.Kind }),
		term.Col("TARGET", func(o wire.Op) string { return cli.Target(o.Extent, o.Node) }),
		term.Col("STATE", func(o wire.Op) string { return o.State }),
		term.Col("PRIORITY", func(o wire.Op) string { return term.Count(int(o.Decision.Priority)) }),
		term.Col("ORIGIN", func(o wire.Op) string { return o.Origin }),
		term.Col("FROM", func(o wire.Op) string { return o.Source }),
		term.Col("TO", func(o wire.Op) string { return o.Target }),
		term.Col("ADMITTED", func(o wire.Op) string { return term.Stamp(o.Admitted) }),
		term.Col("DETAIL", func(o wire.Op) string { return urgentText(o.Urgent, firstWord(o.Detail, o.Blocked)) }))
}

// urgentText marks what is said of an urgent operation.
func urgentText(urgent bool, text string) string {
	switch {
	case !urgent:
		return text
	case text == "":
		return "urgent"
	}
	return "urgent; " + text
}

// firstWord is the first of the texts that says something.
func firstWord(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return term.OneLine(s)
		}
	}
	return ""
}

func newOpShowCommand(a app) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Describe an operation", Args: cli.Takes(1, 1),
		Example: "  datanode op show 4711",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			o, err := c.Op(ctx, args[0])
			if err != nil {
				return err
			}
			return term.Show(a.Terminal, o, []term.Field{
				{"operation", o.ID}, {"kind", o.Kind}, {"state", o.State}, {"extent", term.Number(o.Extent)}, {"node", o.Node},
				{"origin", o.Origin}, {"asked by", o.AskedBy}, {"urgent", term.WhenYes(o.Urgent)}, {"parent", o.Parent},
				{"from", o.Source}, {"to", o.Target}, {"fence", term.Number(o.Fence)},
				{"attempts", term.Count(o.Attempts)}, {"waits for", strings.Join(o.Waits, ",")}, {"blocked", o.Blocked},
				{"by", o.By}, {"detail", o.Detail},
				{"admitted", term.Stamp(o.Admitted)}, {"started", term.Stamp(o.Started)}, {"ended", term.Stamp(o.Ended)},
				{"priority", term.Count(int(o.Decision.Priority))}, {"reason", o.Decision.Reason}, {"policy", o.Decision.Policy},
			})
		}),
	}
}

func newOpCancelCommand(a app) *cobra.Command {
	return &cobra.Command{
		Use: "cancel ID", Short: "End an operation that has not ended", Args: cli.Takes(1, 1),
		Example: "  datanode op cancel 4711",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			o, err := c.Cancel(ctx, args[0])
			if err != nil {
				return err
			}
			return printOps(a, term.Items([]wire.Op{o}))
		}),
	}
}

func newOpReorderCommand(a app) *cobra.Command {
	var before string
	var first bool
	cmd := &cobra.Command{
		Use: "reorder ID (--before ID | --first)", Short: "Put a queued operation before others of its kind",
		Args: cli.Takes(1, 1),
		Long: `Put a queued operation before another of its kind, or before all others. It is for kinds of which one runs at
a time in the cell: see the setting serial. What runs already goes on; cancel it to make room.`,
		Example: "  datanode op reorder 4711 --first\n  datanode op reorder 4711 --before 4690",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			if first == (before != "") {
				return exit.Usagef("op reorder needs either --before and the ID of a queued operation of the same kind, or --first")
			}
			o, err := c.Reorder(ctx, args[0], before)
			if err != nil {
				return err
			}
			return printOps(a, term.Items([]wire.Op{o}))
		}),
	}
	cmd.Flags().StringVar(&before, "before", "", "the operation that it is to come before")
	cmd.Flags().BoolVar(&first, "first", false, "before all others of its kind")
	return cmd
}

func newOpSubmitCommand(a app) *cobra.Command {
	w := &work{a: a}
	var s wire.Submission
	var extents []uint
	cmd := &cobra.Command{
		Use: "submit KIND", Short: "Ask for operations; prints their IDs", Args: cli.Takes(1, 1),
		Long: "Ask for operations: create, seal, repair, move, delete, decommission or recommission. " +
			"With several --extent there is one operation for each. It asks no questions: rm and node decommission do.",
		Example: "  datanode op submit repair --extent 12 --wait\n" +
			"  datanode op submit move --extent 12,13 --node n1 --target n4",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			if _, ok := policies.ParseKind(args[0]); !ok {
				return exit.Usagef(
					"there is no operation %q; want create, seal, repair, move, delete, decommission or recommission", args[0])
			}
			s.Kind = args[0]
			if err := checkAbout(s, extents); err != nil {
				return err
			}
			subs := submissions(s, extents)
			if w.dryRun {
				plans, err := w.check(ctx, c, subs)
				if plans == nil {
					return err
				}
				return cmp.Or(w.printPlans(plans), err)
			}
			admitted, err := w.submit(ctx, c, subs)
			return w.finish(ctx, c, admitted, err)
		}),
	}
	w.waitFlags(cmd)
	w.checkFlags(cmd)
	flags := cmd.Flags()
	flags.UintSliceVar(&extents, "extent", nil, "extent that it is about; may be given several times")
	flags.Lookup("extent").DefValue = "" // the library's is [], which help would show
	flags.StringVar(&s.Node, "node", "", "node that it is about, or that a move takes from")
	flags.StringVar(&s.Target, "target", "", "node that a move takes to (default: the cell chooses)")
	flags.BoolVar(&s.Urgent, "urgent", false,
		"of a move, repair or decommission: start inside a quiet window too; recorded")
	flags.StringVar(&s.Class, "class", "", "class tag of a create")
	flags.Uint8Var(&s.Want, "want", 0, "replicas of a create (default: the cell's setting)")
	flags.StringSliceVar(&s.Replicas, "replicas", nil, "nodes of a create (default: the cell chooses)")
	return cmd
}

// checkAbout reports whether an operation is told what it is about.
func checkAbout(s wire.Submission, extents []uint) error {
	switch s.Kind {
	case "seal", "repair", "delete", "move":
		if len(extents) == 0 || slices.Contains(extents, 0) {
			return exit.Usagef("op submit %s needs --extent, the number of an extent as extent ls shows it", s.Kind)
		}
	}
	switch s.Kind {
	case "move", "decommission", "recommission":
		if s.Node == "" {
			return exit.Usagef("op submit %s needs --node, as node ls shows it", s.Kind)
		}
	}
	return nil
}

// submissions are one for each extent, or a single one without.
func submissions(s wire.Submission, extents []uint) []wire.Submission {
	if len(extents) == 0 {
		return []wire.Submission{s}
	}
	subs := make([]wire.Submission, len(extents))
	for i, id := range extents {
		subs[i] = s
		subs[i].Extent = uint64(id)
	}
	return subs
}
