package main

import (
	"strconv"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/logs"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
	"github.com/spf13/cobra"
)

// past are the flags of commands that look at a state of old.
type past struct{ dir, to string }

func (p *past) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.dir, "dir", "", "the data folder of a stopped node")
	cmd.Flags().StringVar(&p.to, "to", "", "up to this index or time (default: the last entry)")
}

// open applies the log in the folder up to where the flags say. The folder is closed by the time it returns.
func (p *past) open() (*logs.Past, error) {
	f, err := p.folder()
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	index := uint64(0)
	if p.to != "" {
		if index, err = entryAt(f, "--to", p.to); err != nil {
			return nil, err
		}
	}
	return f.At(index)
}

func (p *past) folder() (*logs.Folder, error) {
	if p.dir == "" {
		return nil, exit.Usagef("--dir is missing: the data folder of a stopped node, whose log is applied again")
	}
	return logs.OpenFolder(p.dir)
}

// entryAt is the index that a word says, or that of the last entry at the time that it says or before.
func entryAt(f *logs.Folder, what, word string) (uint64, error) {
	if index, err := strconv.ParseUint(word, 10, 64); err == nil {
		return index, nil
	}
	t, err := logs.ParseTime(word, time.Now())
	if err != nil {
		return 0, exit.Usagef("%s: want an index of the log, such as 4711, or a time: %w", what, err)
	}
	index := f.LastBefore(t)
	if index == 0 {
		return 0, exit.With(exit.NotFound, "%s has no entry from %s or before", f.Name, t.Format(time.RFC3339))
	}
	return index, nil
}

// differences prints what two states of old have different, in words.
func (p *past) differences(a app, words []string) error {
	if len(words) != 2 || p.to != "" {
		return exit.Usagef("log replay --diff needs two entries or times, and no --to; such as --diff 4711 4720")
	}
	f, err := p.folder()
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	var at [2]uint64
	for i, word := range words {
		if at[i], err = entryAt(f, "--diff", word); err != nil {
			return err
		}
	}
	if at[0] > at[1] {
		return exit.Usagef("--diff: entry %d comes after entry %d; name the earlier one first", at[0], at[1])
	}
	changed, err := f.Between(at[0], at[1])
	if err != nil {
		return err
	}
	if a.Output == term.FormatTable {
		a.Note("datanode: from the state after entry %d to that after entry %d", at[0], at[1])
	}
	return listChanges(a, changed)
}

func listChanges(a app, changed []logs.Changed) error {
	return term.List(a.Terminal, term.Items(changed),
		term.Col("WHAT", func(c logs.Changed) string { return c.What }),
		term.Col("CHANGE", func(c logs.Changed) string { return term.OneLine(c.String()) }))
}

// listPast lists what a state of old had of one sort.
func listPast(a app, st *logs.Past, sort string) error {
	switch sort {
	case "extents":
		return term.List(a.Terminal, st.Extents(), extentColumns()...)
	case "nodes":
		return term.List(a.Terminal, st.Nodes(), nodeColumns()...)
	case "ops":
		return printOps(a, st.Ops())
	case "settings":
		return term.List(a.Terminal, st.Settings(),
			term.Col("SETTING", func(s wire.Setting) string { return s.Key }),
			term.Col("VALUE", func(s wire.Setting) string { return s.Value }))
	}
	return exit.Usagef("log replay %s: want extents, nodes, ops or settings", sort)
}

func newLogReplayCommand(a app) *cobra.Command {
	var p past
	var diff bool
	cmd := &cobra.Command{
		Use:   "replay extents|nodes|ops|settings | --diff FROM TO",
		Short: "List the state as it was at some entry or time, or what changed between two",
		Args:  cli.Takes(1, 2), ValidArgs: []string{"extents", "nodes", "ops", "settings"},
		Long: "Apply the log of a stopped node again, up to an entry or a time, and list what there was: the extents, " +
			"nodes, operations or settings, as extent ls, node ls, op ls and settings get would have. Operations of the " +
			"queue say what they waited for then. With --diff, tell what two entries or times have different, in words.",
		Example: "  datanode log replay ops --dir /srv/n1 --to 4711\n" +
			"  datanode log replay nodes --dir /srv/n1 --to 2026-11-30T04:05:06Z\n" +
			"  datanode log replay --diff 4711 4720 --dir /srv/n1",
		RunE: func(_ *cobra.Command, args []string) error {
			if diff {
				return p.differences(a, args)
			}
			if len(args) != 1 {
				return exit.Usagef("%d arguments; want extents, nodes, ops or settings, or --diff and two entries", len(args))
			}
			st, err := p.open()
			if err != nil {
				return err
			}
			if a.Output == term.FormatTable {
				a.Note("datanode: as of entry %d, %s", st.Index(), term.Stamp(st.Micros()))
			}
			return listPast(a, st, args[0])
		},
	}
	p.flags(cmd)
	cmd.Flags().BoolVar(&diff, "diff", false, "what is different after the second entry or time from after the first")
	return cmd
}
