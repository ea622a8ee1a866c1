package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

func newRemoveCommand(a app) *cobra.Command {
	w := &work{a: a, waiting: true}
	cmd := &cobra.Command{
		Use: "rm EXTENT|LOCATOR ...", Short: "Delete extents", Args: cli.Takes(1, -1),
		Long: "Delete extents, on all their replicas at once. It waits until every file is gone. " +
			"A locator is accepted when it names a whole extent.",
		Example: "  datanode rm 12\n  datanode rm 12 13 14 --yes",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			subs, err := removals(ctx, c, args)
			if err != nil {
				return err
			}
			plans, err := w.check(ctx, c, subs)
			if w.dryRun && plans != nil {
				return cmp.Or(w.printPlans(plans), err)
			}
			if err != nil {
				return err
			}
			if err := w.confirm(ctx, plans, removalName(subs), "This cannot be undone"); err != nil {
				return err
			}
			admitted, err := w.submit(ctx, c, subs)
			return w.finish(ctx, c, admitted, err)
		}),
	}
	w.waitFlags(cmd)
	w.dangerFlags(cmd)
	return cmd
}

// removalName is what must be typed: the extent's number, or how many there are.
func removalName(subs []wire.Submission) string {
	if len(subs) == 1 {
		return term.Number(subs[0].Extent)
	}
	return fmt.Sprintf("%d extents", len(subs))
}

// removals are the deletes that the arguments ask for, each extent once.
func removals(ctx context.Context, c *client.Client, args []string) ([]wire.Submission, error) {
	var subs []wire.Submission
	for _, s := range args {
		id, err := wholeExtent(ctx, c, s)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(subs, func(o wire.Submission) bool { return o.Extent == id }) {
			subs = append(subs, wire.Submission{Kind: "delete", Extent: id})
		}
	}
	return subs, nil
}

// wholeExtent is the extent that s names. A locator of a part of one is refused: other puts may be in
// the rest of it.
func wholeExtent(ctx context.Context, c *client.Client, s string) (uint64, error) {
	if !strings.Contains(s, ":") {
		return parseExtent(s)
	}
	l, err := wire.ParseLocator(s)
	if err != nil {
		return 0, exit.Usagef("%w", err)
	}
	e, err := c.Extent(ctx, l.Extent)
	switch {
	case err != nil:
		return 0, err
	case l.Birth != 0 && wire.BirthText(l.Birth) != e.Birth:
		return 0, exit.With(exit.NotFound,
			"extent %d of this cell was born %s, %s names another one: it was stored in another history of this cell", e.ID,
			e.Birth, s)
	case e.State != "sealed":
		return 0, exit.With(exit.Refused,
			"extent %d, which %s is in, is %s: others may be writing to it; to delete all of it, use rm %d", e.ID, s, e.State,
			e.ID)
	case l.Offset != 0 || l.Length != e.Length:
		return 0, exit.With(exit.Refused,
			"%s is only a part of extent %d, which has %d bytes; to delete all of it, use rm %d", s, e.ID, e.Length, e.ID)
	}
	return e.ID, nil
}
