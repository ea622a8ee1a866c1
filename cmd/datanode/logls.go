package main

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/logs"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newestEntries is how many entries log ls shows unless a flag says otherwise.
const newestEntries = 20

// logListing are the flags of log ls.
type logListing struct {
	source       logSource
	filter       logs.Filter
	entries      logs.Range
	since, until string
	everything   bool // without a limit by default
}

func newLogListCommand(a app) *cobra.Command {
	var l logListing
	cmd := &cobra.Command{
		Use: "ls", Short: "List entries of the log; the newest unless --from is given", Args: cli.Takes(0, 0),
		Long: `List entries of the log: the newest, or all from --from on. Filters combine: an entry is shown when one of its
commands meets all of them. A flag that takes several values, separated by commas, means any of them.

--extent, --kind and --about find what starts, ends and cancels the operations concerned too.

--dir reads the log in the folder of a stopped node. Its last entries may never have been agreed on; log status says
up to which the node had applied them. What is damaged is shown as an entry of its own.`,
		Example: "  datanode log ls --limit 5\n  datanode log ls --from 100 --to 120 --node n2 -o jsonl\n" +
			"  datanode log ls --extent 42 --type admit,finish\n  datanode log ls --dir /srv/n1 --since 2h --by admin/me",
		RunE: l.source.with(a, func(ctx context.Context, s logs.Source, _ []string) error {
			if err := l.check(time.Now()); err != nil {
				return err
			}
			err := term.List(a.Terminal, l.selected(ctx, s), logColumns()...)
			if before := l.filter.Untold(); before > 0 && err == nil {
				a.Note("datanode: which commands were refused up to entry %d cannot be told: what led to them is not all there",
					before)
			}
			return err
		}),
	}
	l.flags(cmd)
	return cmd
}

func (l *logListing) flags(cmd *cobra.Command) {
	l.source.flags(cmd)
	flags := cmd.Flags()
	flags.Uint64Var(&l.entries.From, "from", 0, "first index")
	flags.Uint64Var(&l.entries.To, "to", 0, "last index")
	flags.BoolVar(&l.entries.Reverse, "reverse", false, "the last entry first")
	flags.IntVar(&l.filter.Limit, "limit", 0,
		fmt.Sprintf("at most this many (log ls: the newest %d, or all with --from or a filter)", newestEntries))
	flags.StringVar(&l.since, "since", "", "from this time on: 2h ago, or 2026-11-30T04:05:06Z")
	flags.StringVar(&l.until, "until", "", "up to this time")
	flags.BoolVar(&l.filter.Refused, "refused", false, "commands that the state refused")
	filterFlags(flags, &l.filter)
}

// filterFlags are those that say which entries are wanted.
func filterFlags(flags *pflag.FlagSet, f *logs.Filter) {
	flags.StringSliceVar(&f.Types, "type", nil,
		"types of commands, or of the group's own entries: admit, raft-noop")
	flags.StringSliceVar(&f.Ops, "op", nil, "operations, by ID")
	flags.StringSliceVar(&f.Kinds, "kind", nil, "kinds of operations: repair, delete, …")
	flags.UintSliceVar(&f.Extents, "extent", nil, "extents, by number")
	flags.StringSliceVar(&f.Nodes, "about", nil, "nodes that the commands are about, or that take part")
	flags.StringSliceVar(&f.Policies, "policy", nil, "policies that decided, by the start of the digest")
	flags.StringSliceVar(&f.By, "by", nil, "who asked: a role, a name, or both as admin/me")
	flags.StringSliceVar(&f.States, "state", nil, "states that they give: queued, running, done, failed, down, …")
}

func (l *logListing) check(now time.Time) (err error) {
	if l.entries.To > 0 && l.entries.From > l.entries.To {
		return exit.Usagef("--from %d is behind --to %d", l.entries.From, l.entries.To)
	}
	if l.filter.Limit < 0 {
		return exit.Usagef("--limit %d: want 1 at least", l.filter.Limit)
	}
	if l.filter.Since, err = logs.ParseTime(l.since, now); err != nil {
		return exit.Usagef("--since: %w", err)
	}
	if l.filter.Until, err = logs.ParseTime(l.until, now); err != nil {
		return exit.Usagef("--until: %w", err)
	}
	if l.filter.Limit == 0 && l.entries.From == 0 && l.entries.To == 0 && !l.everything && l.filter.Everything() {
		l.filter.Limit = newestEntries
	}
	return nil
}

// selected are the entries asked for: with --limit the newest ones unless --from says where to begin.
func (l *logListing) selected(ctx context.Context, s logs.Source) iter.Seq2[wire.LogEntry, error] {
	if l.filter.Limit == 0 || l.entries.Reverse || l.entries.From > 0 {
		return l.filter.Select(ctx, s, l.entries)
	}
	newest := l.entries
	newest.Reverse = true
	var all []wire.LogEntry
	for e, err := range l.filter.Select(ctx, s, newest) {
		if err != nil {
			return func(yield func(wire.LogEntry, error) bool) { yield(e, err) }
		}
		all = append(all, e)
	}
	slices.Reverse(all)
	return term.Items(all)
}

func logColumns() []term.Column[wire.LogEntry] {
	return []term.Column[wire.LogEntry]{
		term.Col("INDEX", func(e wire.LogEntry) string { return term.Count(e.Index) }),
		term.Col("TERM", func(e wire.LogEntry) string { return term.Count(e.Term) }),
		term.Col("TIME", func(e wire.LogEntry) string { return term.Stamp(e.Micros) }),
		term.Col("BYTES", func(e wire.LogEntry) string { return term.Count(e.Bytes) }),
		term.Col("TYPE", func(e wire.LogEntry) string { return e.Type }),
		term.Col("ASKED-BY", askers),
		term.Col("COMMANDS", commandTexts),
	}
}

// askers are those who asked for the commands of an entry, each once.
func askers(e wire.LogEntry) string {
	var all []string
	for _, c := range e.Commands {
		if who := term.OneLine(c.AskedBy); who != "" && !slices.Contains(all, who) {
			all = append(all, who)
		}
	}
	return strings.Join(all, ",")
}

func commandTexts(e wire.LogEntry) string {
	all := make([]string, len(e.Commands))
	for i, c := range e.Commands {
		all[i] = commandText(c)
	}
	return strings.Join(all, "; ")
}

// commandText is a command's type, and what it says.
func commandText(c wire.LogCommand) string { return term.OneLine(c.Type + " " + c.Text) }
