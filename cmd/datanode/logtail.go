package main

import (
	"context"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/logs"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

func newLogTailCommand(a app) *cobra.Command {
	var tail logs.Tail
	var since string
	cmd := &cobra.Command{
		Use: "tail", Short: "Show the newest entries of the log, and follow it with -f", Args: cli.Takes(0, 0),
		Long: `Show the newest entries of the log, and with -f those that come, until it is interrupted or --timeout has
passed.

Entries are shown once a node has applied them, each once and in order. While no node answers it is asked again, and the
next entry follows the last one that was shown, from whichever node answers then. Entries that a snapshot has replaced
meanwhile are named on stderr. The filters are those of log ls.`,
		Example: "  datanode log tail -f\n  datanode log tail -f --kind delete,repair -o jsonl\n" +
			"  datanode log tail --from 100 --node n2",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, _ []string) (err error) {
			if tail.Lines < 0 {
				return exit.Usagef("--lines %d: want 0 at least", tail.Lines)
			}
			if a.Output == term.FormatJSON {
				return exit.Usagef("-o json is one list, which ends: want -o jsonl, an entry a line")
			}
			if tail.Filter.Since, err = logs.ParseTime(since, time.Now()); err != nil {
				return exit.Usagef("--since: %w", err)
			}
			tail.Source.Client = c
			tail.Skipped = func(from, to uint64) {
				a.Note("datanode: entries %d to %d are not shown: a snapshot has replaced them", from, to)
			}
			tail.Silent = func(err error) {
				if err != nil {
					a.Note("datanode: no entries for now, asking again: %v", err)
				} else {
					a.Note("datanode: going on")
				}
			}
			return term.Follow(a.Terminal, tail.Entries(ctx), logColumns()...)
		}),
	}
	flags := cmd.Flags()
	flags.BoolVarP(&tail.Follow, "follow", "f", false, "go on with the entries that come")
	flags.IntVarP(&tail.Lines, "lines", "n", 10, "how many of the newest to begin with")
	flags.Uint64Var(&tail.From, "from", 0, "begin with this entry instead")
	flags.StringVar(&since, "since", "", "from this time on: 2h ago, or 2026-11-30T04:05:06Z")
	flags.StringVar(&tail.Source.ID, "node", "", "this node's log (default: that of the node that answers)")
	filterFlags(flags, &tail.Filter)
	return cmd
}
