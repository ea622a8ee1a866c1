package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/logs"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/spf13/cobra"
)

func newLogStatusCommand(a app) *cobra.Command {
	var source logSource
	cmd := &cobra.Command{
		Use: "status", Short: "Say on one screen what a log holds and whether it is sound", Args: cli.Takes(0, 0),
		Long: "Say what a log holds and whether it is sound: all of it is read. With --dir it says too whom the node gave " +
			"its vote, which snapshots there are, and how full the file is. Exit code 6 says that the log is damaged.",
		Example: "  datanode log status\n  datanode log status --dir /srv/n1",
		RunE: source.with(a, func(ctx context.Context, s logs.Source, _ []string) error {
			st, err := logs.ReadStatus(ctx, s)
			if err != nil {
				return err
			}
			if err := term.Show(a.Terminal, st, logStatusFields(st)); err != nil {
				return err
			}
			if !st.OK {
				return exit.With(exit.Corrupt, "the log is damaged: %s", term.OneLine(st.Detail))
			}
			return nil
		}),
	}
	source.flags(cmd)
	return cmd
}

func logStatusFields(s logs.Status) []term.Field {
	vote := ""
	if s.VotedFor != "" {
		vote = fmt.Sprintf("for %s in term %d", s.VotedFor, s.VotedTerm)
	}
	space, perDay := "", ""
	if s.Bytes > 0 {
		space = fmt.Sprintf("%s, %s of them free", roughly(uint64(s.Bytes)), roughly(uint64(s.FreeBytes)))
	}
	if s.EntriesPerDay > 0 {
		perDay = fmt.Sprintf("%.0f", s.EntriesPerDay)
	}
	sound := term.YesNo(s.OK)
	if s.Detail != "" {
		sound += ": " + term.OneLine(s.Detail)
	}
	return []term.Field{
		{"node", s.Node}, {"term", term.Count(s.Term)}, {"vote", vote},
		{"entries", fmt.Sprintf("%d to %d", s.First, s.Last)}, {"applied", term.Number(s.Applied)},
		{"snapshots", strings.Join(s.Snapshots, ", ")}, {"voters", strings.Join(s.Voters, ", ")},
		{"chain", shortHash(s.Chain)}, {"file", space}, {"entries a day", perDay}, {"sound", sound},
	}
}
