package main

import (
	"context"
	"iter"
	"slices"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/logs"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

func newLogVerifyCommand(a app) *cobra.Command {
	var nodes, dirs, files []string
	cmd := &cobra.Command{
		Use: "verify", Short: "Read stored logs again and check every entry", Args: cli.Takes(0, 0),
		Long: `Have nodes read their stored log again: checksums and chain. With --dir, read the logs of stopped nodes: every
page of the file, that entries follow each other, sums and chain, the snapshots, and that the state in each snapshot
is what the entries before it come to. With --file, look whether an export is whole and in order. Exit code 6 says that
one is damaged.`,
		Example: "  datanode log verify --node n1,n2\n  datanode log verify --dir /srv/n1",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(dirs)+len(files) > 0 {
				ctx, cancel := a.Bounded(cmd.Context())
				defer cancel()
				return a.TimedOut(ctx, reportVerified(a, func(bad *int) iter.Seq2[wire.LogVerifyReply, error] {
					return verifyStored(ctx, dirs, files, bad)
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
	cmd.Flags().StringSliceVar(&files, "file", nil, "files that log export has made, without asking any node")
	cmd.MarkFlagsMutuallyExclusive("node", "dir")
	cmd.MarkFlagsMutuallyExclusive("node", "file")
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

// verifyStored verifies logs without asking a node: those in folders, and those in files.
func verifyStored(ctx context.Context, dirs, files []string, bad *int) iter.Seq2[wire.LogVerifyReply, error] {
	return func(yield func(wire.LogVerifyReply, error) bool) {
		for i, path := range slices.Concat(dirs, files) {
			verify := verifyFolder
			if i >= len(dirs) {
				verify = verifyFile
			}
			v, err := verify(ctx, path)
			if err == nil && !v.OK {
				*bad++
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}

func verifyFile(ctx context.Context, path string) (wire.LogVerifyReply, error) {
	f, err := logs.OpenFile(path)
	if err != nil {
		return wire.LogVerifyReply{}, err
	}
	return f.Verify(ctx)
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
