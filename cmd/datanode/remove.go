package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

func newRemoveCommand(a app) *cobra.Command {
	w := &work{a: a, waiting: true}
	var g grace
	var keep time.Duration
	cmd := &cobra.Command{
		Use: "rm EXTENT|LOCATOR|- ...", Short: "Delete extents, or what puts have stored in them", Args: cli.Takes(1, -1),
		Long: "Delete extents, on all their replicas at once. It waits until every file is gone. " +
			"With a grace it is deleted as well, but the files stay for so long, and undelete brings all of it back. " +
			"An open extent is sealed before. " +
			"Given locators, delete what they name: no read gives a byte of it any more, and the nodes take it from " +
			"their disks in their own time. With - they are read from stdin, one in a line.",
		Example: "  datanode rm 12\n  datanode rm 12 --grace 24h\n  datanode rm 12 13 14 --yes\n" +
			"  datanode rm 12:4096+512@3f2a91c0 --yes\n" +
			"  datanode rm 14:0+1073741824@9b00c4de,15:0+220@0c1d2e3f --yes\n  datanode rm - --yes < locators",
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("grace") {
				g.flag = &keep
			}
			if keep < 0 || keep > 0 && keep < time.Millisecond || keep > state.MaxGrace {
				return exit.Usagef("--grace is 0, or a duration from 1ms to %s such as 24h, not %s", state.MaxGrace, keep)
			}
			return nil
		},
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			subs, ranges, err := w.removals(ctx, c, args)
			switch {
			case err != nil:
				return err
			case len(ranges) > 0 && keep > 0:
				return exit.Usagef("a locator is deleted with no grace: its bytes go from every disk of their own, and " +
					"nothing keeps them; only whole extents have a --grace")
			case len(ranges) > 0:
				return w.removeRanges(ctx, c, ranges)
			case len(subs) > 0:
				return w.removeExtents(ctx, c, subs, &g)
			}
			return nil // an empty stdin
		}),
	}
	w.waitFlags(cmd)
	w.dangerFlags(cmd)
	cmd.Flags().DurationVar(&keep, "grace", 0, "how long undelete can bring it back; 0: not at all (default: the cell's "+
		"setting delete-grace)")
	return cmd
}

// removeExtents deletes extents; those that are open are sealed before, if there is a grace.
func (w *work) removeExtents(ctx context.Context, c *client.Client, subs []wire.Submission, g *grace) error {
	if err := g.find(ctx, c); err != nil {
		return err
	}
	for i := range subs {
		g.into(&subs[i])
	}
	seals, err := g.open(ctx, c, subs)
	if err != nil {
		return err
	}
	plans, err := w.checkRemovals(ctx, c, seals, subs)
	if w.dryRun && plans != nil {
		return cmp.Or(w.printPlans(plans), err)
	}
	if err != nil {
		return err
	}
	if err := w.confirm(ctx, plans, removalName(subs), g.back()); err != nil {
		return err
	}
	if err := w.sealFirst(ctx, c, seals); err != nil {
		return err
	}
	admitted, err := w.submit(ctx, c, subs)
	return w.finish(ctx, c, admitted, err)
}

// checkRemovals are the plans of seals and, as far as they can be checked before those, of deletes.
func (w *work) checkRemovals(ctx context.Context, c *client.Client, seals, subs []wire.Submission) ([]plan, error) {
	if len(seals) == 0 {
		return w.check(ctx, c, subs)
	}
	isSealed := func(s wire.Submission) bool {
		return slices.ContainsFunc(seals, func(o wire.Submission) bool { return o.Extent == s.Extent })
	}
	plans, err := w.check(ctx, c, slices.Concat(seals, slices.DeleteFunc(slices.Clone(subs), isSealed)))
	if plans == nil {
		return nil, err
	}
	for _, s := range seals {
		plans = append(plans, plan{Kind: "delete", Extent: s.Extent,
			Plan: fmt.Sprintf("delete extent %d once it is sealed", s.Extent)})
	}
	return plans, err
}

// sealFirst waits for the seals that deletes with grace need.
func (w *work) sealFirst(ctx context.Context, c *client.Client, seals []wire.Submission) error {
	if len(seals) == 0 {
		return nil
	}
	admitted, err := w.submit(ctx, c, seals)
	if err != nil && wire.CodeOf(err) != wire.CodePrecondition { // that is what one that is sealed meanwhile comes to
		return err
	}
	ops, err := w.await(ctx, c, admitted, nil)
	return cmp.Or(err, cli.OpsError(ops))
}

// removalName is what must be typed: the extent's number, or how many there are.
func removalName(subs []wire.Submission) string {
	if len(subs) == 1 {
		return term.Number(subs[0].Extent)
	}
	return fmt.Sprintf("%d extents", len(subs))
}

// removals are what the arguments ask to delete: extents, each once, or ranges. Locators that all name whole sealed
// extents are those.
func (w *work) removals(
	ctx context.Context, c *client.Client, args []string,
) ([]wire.Submission, []wire.Locator, error) {
	args, err := w.fromStdin(ctx, args)
	if err != nil {
		return nil, nil, err
	}
	var subs []wire.Submission
	var ranges []wire.Locator
	for _, s := range args {
		if strings.Contains(s, ":") {
			ls, err := wire.ParseLocators(s) // of what put has cut there are several
			if err != nil {
				return nil, nil, exit.Usagef("%w", err)
			}
			ranges = append(ranges, ls...)
			continue
		}
		id, err := parseExtent(s)
		if err != nil {
			return nil, nil, err
		}
		subs = addRemoval(subs, id)
	}
	if len(subs) > 0 && len(ranges) > 0 {
		return nil, nil, exit.Usagef("extents and locators are deleted apart; give either")
	}
	if len(ranges) > 0 {
		if subs, err = wholeExtents(ctx, c, ranges); err != nil || len(subs) > 0 {
			return subs, nil, err
		}
	}
	return subs, ranges, nil
}

// fromStdin puts the lines of stdin in the place of an argument "-".
func (w *work) fromStdin(ctx context.Context, args []string) ([]string, error) {
	at := slices.Index(args, "-")
	if at < 0 {
		return args, nil
	}
	if !w.yes && !w.dryRun {
		return nil, exit.Usagef("not confirmed: stdin has the names and cannot be asked; " +
			"add --yes, or --dry-run to see the plan")
	}
	var lines []string
	in := bufio.NewScanner(w.a.Input(ctx))
	for in.Scan() {
		if line := strings.TrimSpace(in.Text()); line != "" {
			lines = append(lines, line)
		}
	}
	return slices.Concat(args[:at], lines, args[at+1:]), in.Err()
}

func addRemoval(subs []wire.Submission, id uint64) []wire.Submission {
	if slices.ContainsFunc(subs, func(o wire.Submission) bool { return o.Extent == id }) {
		return subs
	}
	return append(subs, wire.Submission{Kind: "delete", Extent: id})
}

// wholeExtents are the deletes of extents that locators come to, if each names all of a sealed one; none else.
func wholeExtents(ctx context.Context, c *client.Client, ranges []wire.Locator) (subs []wire.Submission, err error) {
	if slices.ContainsFunc(ranges, func(l wire.Locator) bool { return l.Offset != 0 }) {
		return nil, nil
	}
	for _, l := range ranges {
		e, err := c.Extent(ctx, l.Extent)
		switch {
		case wire.CodeOf(err) == wire.CodeNotFound:
			return nil, nil // it is refused as a range, and the others are not
		case err != nil:
			return nil, err
		case l.Birth != 0 && wire.BirthText(l.Birth) != e.Birth, e.State != "sealed", l.Length != e.Length:
			return nil, nil
		}
		subs = addRemoval(subs, e.ID)
	}
	return subs, nil
}
