package main

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/logdiff"
	"github.com/datanode/datanode/cmd/datanode/internal/logs"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

func newLogDiffCommand(a app) *cobra.Command {
	var dirs []string
	cmd := &cobra.Command{
		Use: "diff", Short: "Compare the logs of all nodes that are up, or of stopped ones", Args: cli.Takes(0, 0),
		Long: "Compare the logs of all nodes that are up, by their chain hash at the last index that all of them have. " +
			"Exit code 6 says that they differ, and names the first index where they do. " +
			"A node that has stopped because its history is another one is in the list as it was last heard of. " +
			"With --dir, given twice or more, the logs of stopped nodes are compared, and the entries shown that differ.",
		Example: "  datanode log diff\n  datanode log diff --dir /srv/n1 --dir /srv/n2",
	}
	cmd.Flags().StringSliceVar(&dirs, "dir", nil, "the logs in the data folders of stopped nodes, without asking any")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(dirs) == 1:
			return exit.Usagef("one --dir: want two folders at least, to compare")
		case len(dirs) > 1:
			ctx, cancel := a.Bounded(cmd.Context())
			defer cancel()
			return a.TimedOut(ctx, diffFolders(ctx, a, dirs))
		}
		return a.WithClient(func(ctx context.Context, c *client.Client, _ []string) error {
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
		})(cmd, args)
	}
	return cmd
}

// diffFolders compares the logs in folders, at the last entry that all are known to have applied.
func diffFolders(ctx context.Context, a app, dirs []string) error {
	folders := make(map[string]*logs.Folder)
	for _, dir := range dirs {
		if folders[dir] != nil {
			return exit.Usagef("--dir %s is given twice", dir)
		}
		f, err := logs.OpenFolder(dir)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // it was only read
		folders[dir] = f
	}
	lines, err := logdiff.Compare(dirs, func(dir string, index uint64) (wire.LogChainReply, error) {
		return folders[dir].Chain(index)
	})
	if err != nil {
		return err
	}
	err = reportDiff(a, lines)
	for _, l := range lines {
		if l.Same || a.Output != term.FormatTable {
			continue
		}
		for _, dir := range []string{lines[0].Node, l.Node} {
			for e, readErr := range folders[dir].Entries(ctx, logs.Range{From: l.Differs, To: l.Differs}) {
				if readErr != nil {
					return readErr
				}
				w := e.Wire()
				a.Note("%s has entry %d of term %d: %s %s", dir, w.Index, w.Term, w.Type, commandTexts(w))
			}
		}
	}
	return err
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
			flag := "--node"
			if strings.ContainsRune(l.Node, filepath.Separator) {
				flag = "--dir"
			}
			return exit.With(exit.Corrupt,
				"the logs of %s and %s differ from index %d on; compare: datanode log show %d %s %s",
				lines[0].Node, l.Node, l.Differs, l.Differs, flag, l.Node)
		}
	}
	return nil
}
