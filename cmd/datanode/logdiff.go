package main

import (
	"context"
	"slices"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/logdiff"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

func newLogDiffCommand(a app) *cobra.Command {
	return &cobra.Command{
		Use: "diff", Short: "Compare the logs of all nodes that are up", Args: cli.Takes(0, 0),
		Long: "Compare the logs of all nodes that are up, by their chain hash at the last index that all of them have. " +
			"Exit code 6 says that they differ, and names the first index where they do. " +
			"A node that has stopped because its history is another one is in the list as it was last heard of.",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, _ []string) error {
			ids, err := nodesToAsk(ctx, a, c, nil)
			if err != nil {
				return err
			}
			ask := func(node string, index uint64) (wire.LogChainReply, error) { return c.LogChain(ctx, node, index) }
			lines, err := logdiff.Compare(ids, ask)
			if err != nil {
				return err
			}
			s, err := c.Status(ctx)
			if err != nil {
				return err
			}
			return reportDiff(a, append(lines, stopped(s.Parted, lines)...))
		}),
	}
}

// stopped are the nodes whose history was another one and which are not among those that were asked.
func stopped(all []wire.Parted, asked []logdiff.Line) (lines []logdiff.Line) {
	for _, p := range all {
		if !slices.ContainsFunc(asked, func(c logdiff.Line) bool { return c.Node == p.Node }) {
			lines = append(lines, logdiff.Line{Node: p.Node, Index: p.Index, Chain: p.Theirs, Differs: p.Index})
		}
	}
	return lines
}

func reportDiff(a app, lines []logdiff.Line) error {
	err := term.List(a.Terminal, term.Items(lines),
		term.Col("NODE", func(l logdiff.Line) string { return l.Node }),
		term.Col("INDEX", func(l logdiff.Line) string { return term.Count(l.Index) }),
		term.Col("CHAIN", func(l logdiff.Line) string { return shortHash(l.Chain) }),
		term.Col("SAME", func(l logdiff.Line) string { return term.YesNo(l.Same) }),
		term.Col("DIFFERS-AT", func(l logdiff.Line) string { return term.Number(l.Differs) }))
	if err != nil {
		return err
	}
	for _, l := range lines {
		if !l.Same {
			return exit.With(exit.Corrupt,
				"the logs of %s and %s differ from index %d on; compare: datanode log show %d --node %s",
				lines[0].Node, l.Node, l.Differs, l.Differs, l.Node)
		}
	}
	return nil
}
