package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

func newUndeleteCommand(a app) *cobra.Command {
	return &cobra.Command{
		Use: "undelete EXTENT ...", Short: "Bring back extents that were deleted with grace", Args: cli.Takes(1, -1),
		Long: "Bring back extents that were deleted with grace, before that ends: with the same number, the same bytes and " +
			"the same locators. extent ls says of which that can be done, and until when.",
		Example: "  datanode rm 12 --grace 24h\n  datanode undelete 12",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			var back []wire.Extent
			var first error
			for _, arg := range args {
				id, err := parseExtent(arg)
				if err != nil {
					return err
				}
				e, err := c.Undelete(ctx, id, 0)
				switch {
				case err == nil:
					back = append(back, e)
				case len(args) == 1:
					return err
				default: // the others may still come back
					a.Note("datanode: %s", term.OneLine(err.Error()))
					first = cmp.Or(first, err)
				}
			}
			return cmp.Or(term.List(a.Terminal, term.Items(back), extentColumns()...), first)
		}),
	}
}

// grace is for how long a delete keeps the files: as --grace says, or else the cell's setting.
type grace struct {
	flag *time.Duration // nil: --grace is not given
	is   time.Duration
}

// find asks for the setting where there is no flag.
func (g *grace) find(ctx context.Context, c *client.Client) error {
	if g.flag != nil {
		g.is = *g.flag
		return nil
	}
	all, err := c.Settings(ctx)
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.Key == state.KeyDeleteGrace {
			if g.is, err = time.ParseDuration(s.Value); err != nil {
				return exit.With(exit.Failed, "the cell's setting %s is %q: %v", s.Key, s.Value, err)
			}
		}
	}
	return nil
}

// into writes what --grace says into a delete. What it does not say is left to the cell.
func (g *grace) into(s *wire.Submission) {
	if g.flag != nil {
		s.GraceMicros, s.NoGrace = uint64(g.is.Microseconds()), g.is == 0
	}
}

// back says what takes a delete back.
func (g *grace) back() string {
	if g.is == 0 {
		return "This cannot be undone"
	}
	return fmt.Sprintf("This can be undone for %s: datanode undelete", g.is)
}

// open are those of the extents that must be sealed before they are deleted with grace.
func (g *grace) open(ctx context.Context, c *client.Client, subs []wire.Submission) (seals []wire.Submission, err error) {
	if g.is == 0 {
		return nil, nil
	}
	for _, s := range subs {
		e, err := c.Extent(ctx, s.Extent)
		switch {
		case wire.CodeOf(err) == wire.CodeNotFound: // the delete is refused, and says why
		case err != nil:
			return nil, err
		case e.State == "open":
			seals = append(seals, wire.Submission{Kind: "seal", Extent: s.Extent})
		}
	}
	return seals, nil
}
