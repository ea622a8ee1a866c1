package main

import (
	"context"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/logs"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

func newLogCommand(a app) *cobra.Command {
	return cli.Group("log", "Read, verify and compare the operation log", "",
		newLogStatusCommand(a), newLogListCommand(a), newLogTailCommand(a), newLogShowCommand(a), newLogStatsCommand(a),
		newLogVerifyCommand(a),
		newLogDiffCommand(a), newLogExplainCommand(a), newLogExportCommand(a), newLogReplayCommand(a),
		newLogDoctorCommand(a), newLogTimelineCommand(a), newLogSnapshotCommand(a))
}

// logSource are the flags that say which log to read.
type logSource struct{ node, dir, file string }

func (l *logSource) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&l.node, "node", "", "this node's log (default: that of the node that answers)")
	cmd.Flags().StringVar(&l.dir, "dir", "", "the log in the data folder of a stopped node, without asking any")
	cmd.Flags().StringVar(&l.file, "file", "", "a file that log export has made, without asking any node")
	cmd.MarkFlagsMutuallyExclusive("node", "dir", "file")
}

// logCommand is a command that reads a log.
type logCommand func(ctx context.Context, s logs.Source, args []string) error

// with makes a command's function of one that reads the log that was named.
func (l *logSource) with(a app, f logCommand) func(*cobra.Command, []string) error {
	asked := a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
		return f(ctx, logs.Node{Client: c, ID: l.node}, args)
	})
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case l.dir == "" && l.file == "":
			return asked(cmd, args)
		case a.Addr != "":
			return exit.Usagef("--addr asks a node, --dir and --file read without one: want one of them")
		case l.file != "":
			file, err := logs.OpenFile(l.file)
			if err != nil {
				return err
			}
			ctx, cancel := a.Bounded(cmd.Context())
			defer cancel()
			return a.TimedOut(ctx, f(ctx, file, args))
		}
		folder, err := logs.OpenFolder(l.dir)
		if err != nil {
			return err
		}
		ctx, cancel := a.Bounded(cmd.Context())
		defer cancel()
		err = a.TimedOut(ctx, f(ctx, folder, args))
		if closing := folder.Close(); err == nil {
			err = closing
		}
		return err
	}
}

// nodesToAsk are the nodes named, or all that are up. Those that are not are reported, since what is said
// then does not hold for them.
func nodesToAsk(ctx context.Context, a app, c *client.Client, named []string) ([]string, error) {
	if len(named) > 0 {
		return named, nil
	}
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, n := range nodes {
		if n.State == "up" {
			ids = append(ids, n.ID)
		} else {
			a.Note("datanode: %s is %s and was not asked", term.OneLine(n.ID), n.State)
		}
	}
	if len(ids) == 0 {
		return nil, wire.Errorf(wire.OpNodes, wire.CodeUnavailable, "no node of the cell is up")
	}
	return ids, nil
}

// shortHash is enough of a hash to compare by eye.
func shortHash(s string) string {
	const enough = 16
	return s[:min(len(s), enough)]
}
