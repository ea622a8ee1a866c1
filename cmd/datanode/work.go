package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

// notedOps is how many operation IDs are told one by one.
const notedOps = 8

// work is how a command asks for operations: its flags, and what they are about.
type work struct {
	a       *app
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
	cmd.Flags().BoolVar(&w.force, "force", false, "go on although the check says that it cannot succeed now; this is recorded")
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
		w.a.note("datanode: the check says: %s; going on, as --force says", oneLine(refused.Error()))
		refused = nil
	}
	return plans, refused
}

// printPlans answers --dry-run.
func (w *work) printPlans(plans []plan) error {
	return list(w.a, items(plans),
		column[plan]{"KIND", func(p plan) string { return p.Kind }},
		column[plan]{"TARGET", func(p plan) string { return target(p.Extent, p.Node) }},
		column[plan]{"PLAN", func(p plan) string {
			if p.Error != "" {
				return "refused: " + p.Error
			}
			return p.Plan
		}})
}

func target(extent uint64, node string) string {
	if extent == 0 {
		return node
	}
	return number(extent)
}

// confirm asks the person to type want; back says what takes it back. Without a terminal it fails rather than hang.
func (w *work) confirm(ctx context.Context, plans []plan, want, back string) error {
	if w.yes {
		return nil
	}
	if !terminal(w.a.stdin) {
		return usagef("not confirmed: stdin is not a terminal to ask at; add --yes, or --dry-run to see the plan")
	}
	for i, p := range plans {
		if i == notedOps {
			w.a.note("… and %d more", len(plans)-i)
			break
		}
		w.a.note("%s", oneLine(p.Plan))
	}
	_, _ = fmt.Fprintf(w.a.stderr, "%s. Type %s to go on: ", back, want)
	line, err := bufio.NewReader(w.a.input(ctx)).ReadString('\n')
	if errors.Is(ctx.Err(), context.Canceled) {
		w.a.note("") // ends the line of the question
		return withCode(exitInterrupted, "not confirmed, nothing was done")
	}
	if err != nil || strings.TrimSpace(line) != want {
		return withCode(exitFailed, "not confirmed, nothing was done")
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
	if err := printOps(w.a, items(ops)); err != nil {
		return err
	}
	return firstError(refused, opsError(ops))
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *work) printIDs(admitted []wire.Submitted) error {
	if w.a.output != outputTable {
		return list[wire.Submitted](w.a, items(admitted))
	}
	for _, s := range admitted {
		if err := w.a.print("%s", s.Op); err != nil {
			return err
		}
	}
	return nil
}

// await waits until the operations have ended. watch is told where they stand, now and then.
func (w *work) await(ctx context.Context, c *client.Client, admitted []wire.Submitted, watch func([]wire.Op)) ([]wire.Op, error) {
	if len(admitted) == 0 {
		return nil, nil
	}
	ids := make([]string, len(admitted))
	for i, s := range admitted {
		ids[i] = s.Op
		if i < notedOps {
			w.a.note("operation %s", oneLine(s.Op))
		}
	}
	if more := len(ids) - notedOps; more > 0 {
		w.a.note("… and %d more", more)
	}
	if watch == nil {
		bar := w.a.newProgress("operations", "")
		defer bar.end()
		watch = func(ops []wire.Op) { bar.set(int64(countEnded(ops)), int64(len(ops))) }
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
		return withCode(exitInterrupted, "detached; the cell goes on with it, look again with: %s", look)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return withCode(exitFailed, "%d of %d operations have ended within --timeout; the cell goes on with it, look again with: %s", ended, len(ids), look)
	}
	return fmt.Errorf("%w; the cell may go on with it, look again with: %s", err, look)
}

// opsError is the first of the operations that did not come to a good end.
func opsError(ops []wire.Op) error {
	bad := 0
	var first error
	for _, op := range ops {
		if op.State == "done" {
			continue
		}
		if bad++; first == nil {
			first = opError(op)
		}
	}
	if bad > 1 {
		return fmt.Errorf("%d of %d operations came to nothing; the first: %w", bad, len(ops), first)
	}
	return first
}

func opError(op wire.Op) error {
	detail := op.Detail
	if detail == "" && op.By != "" {
		detail = "by " + op.By
	}
	if detail != "" {
		detail = ": " + detail
	}
	code := exitFailed
	if op.State == "rejected" || op.State == "superseded" {
		code = exitRefused
	}
	return withCode(code, "operation %s (%s %s) is %s%s; see datanode op explain %s",
		op.ID, op.Kind, target(op.Extent, op.Node), op.State, detail, op.ID)
}
