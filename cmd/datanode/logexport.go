package main

import (
	"context"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/logs"
	"github.com/spf13/cobra"
)

func newLogExportCommand(a app) *cobra.Command {
	var l logListing
	cmd := &cobra.Command{
		Use: "export", Short: "Write entries with all that is in them as JSON Lines, to be kept", Args: cli.Takes(0, 0),
		Long: "Write entries with all that is in them as JSON Lines, to be kept or read by other programs: all there are, " +
			"unless flags say which. log ls, show, stats and verify read such a file with --file. docs/log-export.md has " +
			"the format.",
		Example: "  datanode log export > log.jsonl\n  datanode log export --dir /srv/n1 --since 24h > night.jsonl\n" +
			"  datanode log ls --file night.jsonl --kind repair",
		RunE: l.source.with(a, func(ctx context.Context, s logs.Source, _ []string) error {
			if err := l.check(time.Now()); err != nil {
				return err
			}
			name, _, _, err := logs.Bounds(ctx, s)
			if err != nil {
				return err
			}
			return logs.Export(a.Stdout, name, time.Now(), l.selected(ctx, s))
		}),
	}
	l.flags(cmd)
	l.everything, l.filter.Whole = true, true
	return cmd
}
