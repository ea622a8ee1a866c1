package main

import (
	"context"
	"iter"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/logs"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

func newLogVerifyCommand(a app) *cobra.Command {
	var nodes, dirs []string
	cmd := &cobra.Command{
		Use: "verify", Short: "Read stored logs again and check every entry", Args: cli.Takes(0, 0),
		Long: `Have nodes read their stored log again: checksums and chain. With --dir, read the logs of stopped nodes: every
page of the file, that entries follow each other, sums and chain, the snapshots, and that the state in each snapshot is what
the entries before it come to. Exit code 6 says that one is damaged.`,
		Example: "  datanode log verify --node n1,n2\n  datanode log verify --dir /srv/n1",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(dirs) > 0 {
				ctx, cancel := a.Bounded(cmd.Context())
				defer cancel()
				return a.TimedOut(ctx, reportVerified(a, func(bad *int) iter.Seq2[wire.LogVerifyReply, error] {
					return verifyFolders(ctx, dirs, bad)
				}))
			}
			return a.WithClient(func(ctx context.Context, c *client.Client, _ []string) error {
				ids, err := nodesToAsk(ctx, a, c, nodes)
				if err != nil {
					return err
				}
				return reportVerified(a, func(bad *int) iter.Seq2[wire.LogVerifyReply, error] {
					return verifyLogs(ctx, c, ids, bad)
				})
			})(cmd, args)
		},
	}
	cmd.Flags().StringSliceVar(&nodes, "node", nil, "these nodes (default: all that are up)")
	cmd.Flags().StringSliceVar(&dirs, "dir", nil, "the logs in the data folders of stopped nodes, without asking any")
	cmd.MarkFlagsMutuallyExclusive("node", "dir")
	return cmd
}

func reportVerified(a app, verify func(bad *int) iter.Seq2[wire.LogVerifyReply, error]) error {
	bad := 0
	err := term.List(a.Terminal, verify(&bad),
		term.Col("NODE", func(v wire.LogVerifyReply) string { return v.Node }),
		term.Col("OK", func(v wire.LogVerifyReply) string { return term.YesNo(v.OK) }),
		term.Col("FIRST", func(v wire.LogVerifyReply) string { return term.Count(v.First) }),
		term.Col("LAST", func(v wire.LogVerifyReply) string { return term.Count(v.Last) }),
		term.Col("ENTRIES", func(v wire.LogVerifyReply) string { return term.Count(v.Entries) }),
		term.Col("CHAIN", func(v wire.LogVerifyReply) string { return shortHash(v.Chain) }),
		term.Col("DETAIL", func(v wire.LogVerifyReply) string { return v.Detail }))
	if err == nil && bad > 0 {
		err = exit.With(exit.Corrupt, "the logs of %d nodes are damaged", bad)
	}
	return err
}

func verifyLogs(ctx context.Context, c *client.Client, ids []string, bad *int) iter.Seq2[wire.LogVerifyReply, error] {
	return func(yield func(wire.LogVerifyReply, error) bool) {
		for _, id := range ids {
			v, err := c.LogVerify(ctx, id)
			if err == nil && !v.OK {
				*bad++
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

func verifyFolders(ctx context.Context, dirs []string, bad *int) iter.Seq2[wire.LogVerifyReply, error] {
	return func(yield func(wire.LogVerifyReply, error) bool) {
		for _, dir := range dirs {
			v, err := verifyFolder(ctx, dir)
			if err == nil && !v.OK {
				*bad++
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

func verifyFolder(ctx context.Context, dir string) (wire.LogVerifyReply, error) {
	f, err := logs.OpenFolder(dir)
	if err != nil {
		return wire.LogVerifyReply{}, err
	}
	v, err := f.Verify(ctx)
	if closing := f.Close(); err == nil {
		err = closing
	}
	return v, err
}
