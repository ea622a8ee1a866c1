package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/logs"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/spf13/cobra"
)

const timelineHelp = `Draw the operations of a range of the log as a picture that any browser opens: a lane for each
extent, or with --by node for each node that carried out an attempt; when each operation was queued, waited for
another, and ran, and how it ended; where leaders, policies and the states of nodes changed. Point at a bar for its
story. Times in which nothing happened are drawn short.

Which extent a create made, and when a delete ended, is found by applying the entries again: of a running node or a
file, where they begin with the first one.`

// drawing are the flags of log timeline.
type drawing struct {
	source       logSource
	entries      logs.Range
	since, until string
	svg, by      string
}

func newLogTimelineCommand(a app) *cobra.Command {
	var d drawing
	cmd := &cobra.Command{
		Use: "timeline --svg OUT", Short: "Draw operations as lanes over time", Args: cli.Takes(0, 0), Long: timelineHelp,
		Example: "  datanode log timeline --svg night.svg --since 8h\n" +
			"  datanode log timeline --svg - --dir /srv/n1 --by node > n1.svg",
		RunE: func(cmd *cobra.Command, args []string) error {
			since, until, err := d.check()
			if err != nil {
				return err
			}
			return d.source.with(a, func(ctx context.Context, s logs.Source, _ []string) error {
				t, err := logs.ReadTimeline(ctx, s, d.entries, since, until)
				if err != nil {
					return err
				}
				if t.Ops() == 0 {
					return exit.With(exit.NotFound, "there are no operations in these entries; see log ls")
				}
				if d.svg == "-" {
					return t.WriteSVG(a.Stdout, d.by == "node")
				}
				return replaceFile(d.svg, func(w io.Writer) error { return t.WriteSVG(w, d.by == "node") })
			})(cmd, args)
		},
	}
	d.source.flags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&d.svg, "svg", "", "the file to write; - is stdout")
	flags.StringVar(&d.by, "by", "extent", "lanes of each extent, or of each node")
	flags.Uint64Var(&d.entries.From, "from", 0, "first index")
	flags.Uint64Var(&d.entries.To, "to", 0, "last index")
	flags.StringVar(&d.since, "since", "", "from this time on: 2h ago, or 2026-11-30T04:05:06Z")
	flags.StringVar(&d.until, "until", "", "up to this time")
	return cmd
}

func (d *drawing) check() (since, until time.Time, err error) {
	switch {
	case d.svg == "":
		return since, until, exit.Usagef("--svg is missing: the file to write, or - for stdout")
	case d.by != "extent" && d.by != "node":
		return since, until, exit.Usagef("--by %s: want extent or node", d.by)
	case d.entries.To > 0 && d.entries.From > d.entries.To:
		return since, until, exit.Usagef("--from %d is behind --to %d", d.entries.From, d.entries.To)
	}
	if since, err = logs.ParseTime(d.since, time.Now()); err != nil {
		return since, until, exit.Usagef("--since: %w", err)
	}
	if until, err = logs.ParseTime(d.until, time.Now()); err != nil {
		return since, until, exit.Usagef("--until: %w", err)
	}
	return since, until, nil
}

// replaceFile writes a file under another name, and gives it its own once it is whole and on the disk.
func replaceFile(name string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return exit.File(err)
	}
	err = write(f)
	if err == nil {
		err = f.Chmod(term.NewFileMode(name))
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
