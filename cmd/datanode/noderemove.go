package main

import (
	"context"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

func newNodeRemoveCommand(a app) *cobra.Command {
	w := &work{a: a}
	cmd := &cobra.Command{
		Use: "remove NODE", Short: "Take a decommissioned node out of the cell", Args: cli.Takes(1, 1),
		Long: `Take a node that is decommissioned and stopped out of the cell: out of its log's group, of node ls, and of
what the cell waits for before it forgets a deleted extent. It is not let in again with its folder, but with an empty
one it joins as new.

With --force also a node that is down and was not decommissioned, so that its replicas go without copies having been
made: the others make them as far as there are nodes to take them. It is refused while the node has the only whole
replica of an extent.`,
		Example: "  datanode node remove n4 --dry-run\n  datanode node remove n4",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			req := wire.NodeRemoveRequest{Node: args[0], Force: w.force, DryRun: true}
			text, err := c.RemoveNode(ctx, req)
			if err != nil {
				return err
			}
			plans := []plan{{Kind: "remove", Node: args[0], Plan: text}}
			if w.dryRun {
				return w.printPlans(plans)
			}
			if err := w.confirm(ctx, plans, args[0],
				"This cannot be taken back: the folder of "+args[0]+" counts for nothing afterwards"); err != nil {
				return err
			}
			req.DryRun = false
			if text, err = c.RemoveNode(ctx, req); err != nil {
				return err
			}
			return w.removed(args[0], wire.NodeRemoveReply{Plan: text})
		}),
	}
	w.dangerFlags(cmd)
	return cmd
}

// removal is what is printed of a removed node.
type removal struct {
	Node    string `json:"node"`
	Removed bool   `json:"removed"`
	Plan    string `json:"plan"`
}

// removed says that a node is no longer in the cell.
func (w *work) removed(id string, reply wire.NodeRemoveReply) error {
	if w.a.Output != term.FormatTable {
		return term.Show(w.a.Terminal, removal{id, true, reply.Plan}, nil)
	}
	return w.a.Print("%s is removed from the cell (%s); should it come back, it needs an empty --dir", id,
		term.OneLine(reply.Plan))
}
