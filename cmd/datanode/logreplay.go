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
	if p.dir == "" {
		return nil, exit.Usagef("--dir is missing: the data folder of a stopped node, whose log is applied again")
	}
	f, err := logs.OpenFolder(p.dir)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	index := uint64(0)
	if p.to != "" {
		if index, err = strconv.ParseUint(p.to, 10, 64); err != nil {
			t, err := logs.ParseTime(p.to, time.Now())
			if err != nil {
				return nil, exit.Usagef("--to: want an index of the log, such as 4711, or a time: %w", err)
			}
			if index = f.LastBefore(t); index == 0 {
				return nil, exit.With(exit.NotFound, "%s has no entry from %s or before", p.dir, t.Format(time.RFC3339))
			}
		}
	}
	return f.At(index)
}

func newLogReplayCommand(a app) *cobra.Command {
	var p past
	cmd := &cobra.Command{
		Use: "replay extents|nodes|ops|settings", Short: "List the state as it was at some entry or time",
		Args: cli.Takes(1, 1), ValidArgs: []string{"extents", "nodes", "ops", "settings"},
		Long: "Apply the log of a stopped node again, up to an entry or a time, and list what there was: the extents, " +
			"nodes, operations or settings, as extent ls, node ls, op ls and settings get would have. Operations of the " +
			"queue say what they waited for then.",
		Example: "  datanode log replay ops --dir /srv/n1 --to 4711\n" +
			"  datanode log replay nodes --dir /srv/n1 --to 2026-11-30T04:05:06Z",
		RunE: func(_ *cobra.Command, args []string) error {
			st, err := p.open()
			if err != nil {
				return err
			}
			if a.Output == term.FormatTable {
				a.Note("datanode: as of entry %d, %s", st.Index(), term.Stamp(st.Micros()))
			}
			switch args[0] {
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
			return exit.Usagef("log replay %s: want extents, nodes, ops or settings", args[0])
		},
	}
	p.flags(cmd)
	return cmd
}
