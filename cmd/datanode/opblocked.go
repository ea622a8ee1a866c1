package main

import (
	"context"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// listBlocked prints what waits, and for what.
func listBlocked(ctx context.Context, a app, c *client.Client, after string, limit int) error {
	return term.List(a.Terminal, atMost(c.Blocked(ctx, wire.BlockedRequest{After: after}), limit),
		term.Col("OP", func(b wire.Blocked) string { return b.Op }),
		term.Col("KIND", func(b wire.Blocked) string { return b.Kind }),
		term.Col("TARGET", func(b wire.Blocked) string { return cli.Target(b.Extent, b.Node) }),
		term.Col("REPLICAS", func(b wire.Blocked) string { return term.Number(b.Count) }),
		term.Col("REASON", func(b wire.Blocked) string { return b.Reason }),
		term.Col("SINCE", func(b wire.Blocked) string { return term.Stamp(b.Since) }),
		term.Col("UNTIL", func(b wire.Blocked) string { return term.Stamp(b.Until) }),
		term.Col("WHY", func(b wire.Blocked) string { return term.OneLine(b.Why) }))
}
