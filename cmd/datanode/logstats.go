package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/logs"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/spf13/cobra"
)

func newLogStatsCommand(a app) *cobra.Command {
	var source logSource
	var entries logs.Range
	var since, until string
	cmd := &cobra.Command{
		Use: "stats", Short: "Count entries and commands, and tell how long operations took", Args: cli.Takes(0, 0),
		Long: "Count entries and bytes by type, commands by type, kind, policy and who asked, and tell how long operations " +
			"waited and ran, from the times of their entries.",
		Example: "  datanode log stats --since 24h\n  datanode log stats --dir /srv/n1 --from 1000 --to 2000",
		RunE: source.with(a, func(ctx context.Context, s logs.Source, _ []string) error {
			if entries.To > 0 && entries.From > entries.To {
				return exit.Usagef("--from %d is behind --to %d", entries.From, entries.To)
			}
			var f logs.Filter
			var err error
			if f.Since, err = logs.ParseTime(since, time.Now()); err != nil {
				return exit.Usagef("--since: %w", err)
			}
			if f.Until, err = logs.ParseTime(until, time.Now()); err != nil {
				return exit.Usagef("--until: %w", err)
			}
			st, err := logs.Count(ctx, s, entries, f.Takes)
			if err != nil {
				return err
			}
			if a.Output != term.FormatTable {
				return term.Show(a.Terminal, st, nil)
			}
			return printStats(a, st)
		}),
	}
	source.flags(cmd)
	flags := cmd.Flags()
	flags.Uint64Var(&entries.From, "from", 0, "first index")
	flags.Uint64Var(&entries.To, "to", 0, "last index")
	flags.StringVar(&since, "since", "", "from this time on: 2h ago, or 2026-11-30T04:05:06Z")
	flags.StringVar(&until, "until", "", "up to this time")
	return cmd
}

func printStats(a app, s logs.Stats) error {
	head := fmt.Sprintf("%d entries, %d to %d, %s", s.Entries, s.First, s.Last, roughly(uint64(s.Bytes)))
	if s.Damaged > 0 {
		head += fmt.Sprintf("; %d of them damaged", s.Damaged)
	}
	if err := a.Print("%s\n", head); err != nil {
		return err
	}
	t := term.Table{Out: a.Stdout}
	t.Row([]string{"BY", "NAME", "COUNT", "BYTES"})
	for _, g := range s.Groups {
		t.Row([]string{g.By, logs.ShortDigest(g.Name), term.Count(g.Count), term.Number(g.Bytes)})
	}
	t.Flush()
	if len(s.CommandsEach) > 0 {
		if err := a.Print("\ncommands an entry"); err != nil {
			return err
		}
		if err := printBuckets(a, s.CommandsEach); err != nil {
			return err
		}
	}
	if s.Cost.Count > 0 {
		if err := a.Print("\ncost of a decision: median %d, p99 %d units, of %d", s.Cost.P50, s.Cost.P99,
			s.Cost.Count); err != nil {
			return err
		}
	}
	if len(s.Latency) == 0 {
		return nil
	}
	if err := a.Print(""); err != nil {
		return err
	}
	times := term.Table{Out: a.Stdout}
	times.Row([]string{"KIND", "STEP", "COUNT", "MEDIAN", "P99"})
	for _, l := range s.Latency {
		times.Row([]string{l.Kind, l.Step, term.Count(l.Count), micros(l.P50), micros(l.P99)})
	}
	times.Flush()
	return nil
}

func micros(n int64) string { return (time.Duration(n) * time.Microsecond).String() }

// printBuckets draws a histogram.
func printBuckets(a app, all []logs.Bucket) error {
	const width = 40
	most := 1
	for _, b := range all {
		most = max(most, b.Count)
	}
	for _, b := range all {
		span := fmt.Sprint(b.From)
		if b.To > b.From {
			span = fmt.Sprintf("%d-%d", b.From, b.To)
		}
		bar := strings.Repeat("#", max(1, b.Count*width/most))
		if err := a.Print("%11s  %-*s  %d", span, width, bar, b.Count); err != nil {
			return err
		}
	}
	return nil
}
