package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

// notedOps is how many operation IDs are printed one by one.
const notedOps = 8

// work is how a command asks for operations: its flags, and what they are about.
type work struct {
	a       app
	wait    bool
	noWait  bool
	dryRun  bool
	yes     bool
	force   bool
	waiting bool // whether it waits when no flag says so
}

// waitFlags adds --wait and --no-wait.
func (w *work) waitFlags(cmd *cobra.Command) {
	what := "do not wait for the end"
	if !w.waiting {
		what += " (the default)"
	}
	cmd.Flags().BoolVar(&w.noWait, "no-wait", false, what)
	what = "wait for the end"
	if w.waiting {
		what += " (the default)"
	}
	cmd.Flags().BoolVar(&w.wait, "wait", false, what)
}

// dangerFlags adds the flags of a command that cannot be undone.
func (w *work) dangerFlags(cmd *cobra.Command) {
	w.checkFlags(cmd)
	cmd.Flags().BoolVar(&w.yes, "yes", false, "do not ask")
}

func (w *work) checkFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&w.dryRun, "dry-run", false, "only check, and print what would happen")
	cmd.Flags().BoolVar(&w.force, "force", false,
		"go on although the check says that it cannot succeed now; this is recorded")
}

func (w *work) waits() bool { return w.wait || w.waiting && !w.noWait }

// plan is one submission and what the cell's check says of it.
type plan struct {
	Kind   string `json:"kind"`
	Extent uint64 `json:"extent,omitempty"`
	Node   string `json:"node,omitempty"`
	Plan   string `json:"plan,omitempty"`
	Error  string `json:"error,omitempty"`
}

// check has the submissions checked, without doing anything. A refusal is an error, unless --force or
// --dry-run is set and the plans are what is wanted.
func (w *work) check(ctx context.Context, c *client.Client, subs []wire.Submission) ([]plan, error) {
	checked, err := c.Submit(ctx, subs, client.SubmitOptions{DryRun: true, Force: w.force})
	if err != nil {
		return nil, err
	}
	plans := make([]plan, len(checked))
	var refused error
	for i, s := range checked {
		plans[i] = plan{Kind: subs[i].Kind, Extent: subs[i].Extent, Node: subs[i].Node, Plan: s.Plan, Error: s.Detail}
		if err := client.Refusal(s); err != nil && refused == nil {
			refused = err
		}
	}
	if refused != nil && w.force && wire.CodeOf(refused) != wire.CodeNotFound {
		w.a.Note("datanode: the check says: %s; going on, as --force says", term.OneLine(refused.Error()))
		refused = nil
	}
	return plans, refused
}

// printPlans answers --dry-run.
func (w *work) printPlans(plans []plan) error {
	return term.List(w.a.Terminal, term.Items(plans),
		term.Col("KIND", func(p plan) string { return p.Kind }),
		term.Col("TARGET", func(p plan) string { return cli.Target(p.Extent, p.Node) }),
		term.Col("PLAN", func(p plan) string {
			if p.Error != "" {
				return "refused: " + p.Error
			}
			return p.Plan
		}))
}

// confirm asks the person to type want; back says what takes it back. Without a terminal it fails rather than hang.
func (w *work) confirm(ctx context.Context, plans []plan, want, back string) error {
	if w.yes {
		return nil
	}
	if !term.IsTerminal(w.a.Stdin) {
		return exit.Usagef("not confirmed: stdin is not a terminal to ask at; add --yes, or --dry-run to see the plan")
	}
	for i, p := range plans {
		if i == notedOps {
			w.a.Note("… and %d more", len(plans)-i)
			break
		}
		w.a.Note("%s", term.OneLine(p.Plan))
	}
	_, _ = fmt.Fprintf(w.a.Stderr, "%s. Type %s to go on: ", back, want)
	line, err := bufio.NewReader(w.a.Input(ctx)).ReadString('\n')
	if errors.Is(ctx.Err(), context.Canceled) {
		w.a.Note("") // ends the line of the question
		return exit.With(exit.Interrupted, "not confirmed, nothing was done")
	}
	if err != nil || strings.TrimSpace(line) != want {
		return exit.With(exit.Failed, "not confirmed, nothing was done")
	}
	return nil
}

// submit asks for the operations. A refusal of one is an error, after the others were noted.
func (w *work) submit(ctx context.Context, c *client.Client, subs []wire.Submission) ([]wire.Submitted, error) {
	all, err := c.Submit(ctx, subs, client.SubmitOptions{Force: w.force})
	var admitted []wire.Submitted
	for _, s := range all {
		if refused := client.Refusal(s); refused == nil {
			admitted = append(admitted, s)
		} else if err == nil {
			err = refused
		}
	}
	return admitted, err
}

// finish prints the operations: at once and by ID, or when they have ended and with what became of them.
// refused is why some were not admitted; it is the error in the end.
func (w *work) finish(ctx context.Context, c *client.Client, admitted []wire.Submitted, refused error) error {
	if len(admitted) == 0 && refused != nil {
		return refused
	}
	if !w.waits() {
		return errors.Join(w.printIDs(admitted), refused)
	}
	ops, err := w.await(ctx, c, admitted, nil)
	if err != nil {
		return err
	}
	if err := printOps(w.a, term.Items(ops)); err != nil {
		return err
	}
	return cmp.Or(refused, cli.OpsError(ops))
}

func (w *work) printIDs(admitted []wire.Submitted) error {
	if w.a.Output != term.FormatTable {
		return term.List[wire.Submitted](w.a.Terminal, term.Items(admitted))
	}
	for _, s := range admitted {
		if err := w.a.Print("%s", s.Op); err != nil {
			return err
		}
	}
	return nil
}

// await waits until the operations have ended. watch is called with where they stand, now and then.
func (w *work) await(ctx context.Context, c *client.Client, admitted []wire.Submitted,
	watch func([]wire.Op)) ([]wire.Op, error) {
	if len(admitted) == 0 {
		return nil, nil
	}
	ids := make([]string, len(admitted))
	for i, s := range admitted {
		ids[i] = s.Op
		if i < notedOps {
			w.a.Note("operation %s", term.OneLine(s.Op))
		}
	}
	if more := len(ids) - notedOps; more > 0 {
		w.a.Note("… and %d more", more)
	}
	if watch == nil {
		bar := w.a.NewProgress("operations", "")
		defer bar.End()
		watch = func(ops []wire.Op) { bar.Set(int64(countEnded(ops)), int64(len(ops))) }
	}
	ops, err := c.Wait(ctx, ids, watch)
	if err != nil {
		return nil, detached(ctx, err, ids, countEnded(ops))
	}
	return ops, nil
}

func countEnded(ops []wire.Op) int {
	n := 0
	for _, op := range ops {
		if client.Ended(op) {
			n++
		}
	}
	return n
}

// detached is the error of whoever stopped waiting. The cell goes on all the same.
func detached(ctx context.Context, err error, ids []string, ended int) error {
	look := "datanode op show " + ids[0]
	if len(ids) > 1 {
		look = "datanode op ls --open"
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return exit.With(exit.Interrupted, "detached; the cell goes on with it, look again with: %s", look)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return exit.With(exit.Failed,
			"%d of %d operations have ended within --timeout; the cell goes on with it, look again with: %s", ended, len(ids),
			look)
	}
	return fmt.Errorf("%w; the cell may go on with it, look again with: %s", err, look)
}
