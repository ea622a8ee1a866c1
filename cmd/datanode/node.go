package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

func newNodeCommand(a app) *cobra.Command {
	return cli.Group("node", "List, show, stop, empty, take back and remove nodes", "",
		newNodeListCommand(a), newNodeShowCommand(a), newDecommissionCommand(a), newRecommissionCommand(a),
		newNodeRemoveCommand(a), newOKToStopCommand(a), newPauseCommand(a),
		newResumeCommand(a))
}

func newNodeListCommand(a app) *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List the nodes of the cell", Args: cli.Takes(0, 0),
		Example: "  datanode node ls",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, _ []string) error {
			nodes, err := c.Nodes(ctx)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(nodes, func(n wire.Node) bool { return n.Leader }) {
				a.Note("datanode: no leader is known; these are the states that the cell agreed on last")
			}
			return term.List(a.Terminal, term.Items(nodes),
				nodeColumns()...)
		}),
	}
}

// loadCell is how many copies run and how many are queued, as 2/14; empty for none.
func loadCell(queued, running int) string {
	if queued+running == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", running, queued)
}

func nodeRole(n wire.Node) string {
	switch {
	case n.Leader:
		return "leader"
	case n.Voter:
		return "voter"
	}
	return "non-voter"
}

// freeText is what extents may still take on a node's disk.
func freeText(n wire.Node) string {
	if n.Total == 0 {
		return ""
	}
	return fmt.Sprintf("%s/%s", roughly(n.Free), roughly(n.Total))
}

func nodeColumns() []term.Column[wire.Node] {
	return []term.Column[wire.Node]{
		term.Col("NODE", func(n wire.Node) string { return n.ID }),
		term.Col("STATE", func(n wire.Node) string { return n.State }),
		term.Col("MODE", func(n wire.Node) string { return n.Mode }),
		term.Col("ROLE", nodeRole),
		term.Col("REPLICAS", func(n wire.Node) string { return term.Count(n.Replicas) }),
		term.Col("DROPPING", func(n wire.Node) string { return term.Count(n.Dropping) }),
		term.Col("ADDR", func(n wire.Node) string { return n.Addr }),
		term.Col("SINCE", func(n wire.Node) string { return term.Stamp(n.Since) }),
		term.Col("FREE", freeText),
		term.Col("SOURCE", func(n wire.Node) string { return loadCell(n.SourceQueued, n.SourceRunning) }),
		term.Col("TARGET", func(n wire.Node) string { return loadCell(n.TargetQueued, n.TargetRunning) }),
		term.Col("REFUSES", func(n wire.Node) string { return n.Refuses }),
		term.Col("DISKS", func(n wire.Node) string { return disksText(n.Disks) }),
		term.Col("PAUSED", func(n wire.Node) string { return pausedCell(n) }),
		term.Col("OPERATION", func(n wire.Node) string { return n.Operation }),
		term.Col("BLOCKED", func(n wire.Node) string { return term.OneLine(n.Blocked) }),
	}
}

// roughly is a size to two digits or three, in the units of settings.
func roughly(bytes uint64) string {
	value, unit := float64(bytes), ""
	for _, next := range []string{"Ki", "Mi", "Gi", "Ti", "Pi"} {
		if value < 1024 {
			break
		}
		value, unit = value/1024, next
	}
	if value < 10 && unit != "" {
		return fmt.Sprintf("%.1f%s", value, unit)
	}
	return fmt.Sprintf("%.0f%s", value, unit)
}

func newNodeShowCommand(a app) *cobra.Command {
	return &cobra.Command{
		Use: "show NODE", Short: "Describe a node", Args: cli.Takes(1, 1),
		Example: "  datanode node show n2",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			n, err := cli.FindNode(ctx, c, args[0])
			if err != nil {
				return err
			}
			scrub := scrubOf(ctx, c, n, 0)
			return term.Show(a.Terminal, shownNode{Node: n, Scrub: scrub}, slices.Concat([]term.Field{
				{"node", n.ID}, {"addr", n.Addr}, {"state", n.State}, {"mode", n.Mode}, {"role", nodeRole(n)},
				{"since", term.Stamp(n.Since)}, {"incarnation", term.Number(n.Incarnation)}, {"replicas", term.Count(n.Replicas)},
				{"dropping", term.Count(n.Dropping)}, {"operation", n.Operation}, {"remaining", term.Number(n.Remaining)},
				{"blocked", n.Blocked}, {"safe to remove", term.YesNo(n.SafeRemove)},
				{"source of", loadText(n.SourceQueued, n.SourceRunning)}, {"target of", loadText(n.TargetQueued, n.TargetRunning)},
				{"free", freeText(n)}, {"largest free", largestText(n)}, {"refuses", n.Refuses},
			}, notOKFields(n.Disks), pausedFields(n.Paused), scrubFields(scrub)))
		}),
	}
}

func newDecommissionCommand(a app) *cobra.Command {
	w := &work{a: a, waiting: true}
	var urgent bool
	cmd := &cobra.Command{
		Use: "decommission NODE", Short: "Move everything off a node, until it is safe to remove", Args: cli.Takes(1, 1),
		Long: `Move all replicas off a node, and its vote, until it is safe to remove. It waits for that; an interrupt only
stops the waiting. recommission takes it back. A node that is down at the end is removed from the cell: see node
remove. By default one decommission runs at a time (setting serial), and none moves anything in a quiet window (setting
quiet-windows).`,
		Example: "  datanode node decommission n3 --dry-run\n  datanode node decommission n3",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			subs := []wire.Submission{{Kind: "decommission", Node: args[0], Urgent: urgent}}
			plans, err := w.check(ctx, c, subs)
			if w.dryRun && plans != nil {
				return cmp.Or(w.printPlans(plans), err)
			}
			if err != nil {
				return err
			}
			if err := w.confirm(ctx, plans, args[0],
				"node recommission takes this back, but not the copies that were made"); err != nil {
				return err
			}
			admitted, err := w.submit(ctx, c, subs)
			if err != nil || !w.waits() {
				return w.finish(ctx, c, admitted, err)
			}
			return w.awaitEmpty(ctx, c, admitted, args[0])
		}),
	}
	w.waitFlags(cmd)
	w.dangerFlags(cmd)
	cmd.Flags().BoolVar(&urgent, "urgent", false, "move inside quiet windows too; recorded")
	return cmd
}

// awaitEmpty waits for a decommission, shows what is left and what holds it up, and says that the
// node is safe to remove only when the cell says so.
func (w *work) awaitEmpty(ctx context.Context, c *client.Client, admitted []wire.Submitted, id string) error {
	watch := emptying{a: w.a, id: id, bar: w.a.NewProgress("moving off "+id, "")}
	defer watch.bar.End()
	watch.look(ctx, c) // at once, to know how many there were
	ops, err := w.await(ctx, c, admitted, func([]wire.Op) { watch.look(ctx, c) })
	if err != nil {
		return err
	}
	watch.bar.End()
	if err := cli.OpsError(ops); err != nil {
		return err
	}
	n, err := cli.FindNode(ctx, c, id)
	switch {
	case wire.CodeOf(err) == wire.CodeNotFound:
		return w.removed(id, wire.NodeRemoveReply{Plan: "it was down when its decommission ended"})
	case err != nil:
		return err
	case !n.SafeRemove:
		return exit.With(exit.Failed, "operation %s has ended, but %s is %s and not safe to remove", ops[0].ID, id, n.Mode)
	case w.a.Output != term.FormatTable:
		return term.Show(w.a.Terminal, n, nil)
	}
	return w.a.Print("%s is safe to remove", id)
}

// emptying is a node that is watched while it is emptied.
type emptying struct {
	a       app
	id      string
	bar     *term.Progress // nil without a terminal
	most    int
	blocked string
}

// look shows where the node stands. A failure to look is not a failure of the decommission.
func (e *emptying) look(ctx context.Context, c *client.Client) {
	n, err := cli.FindNode(ctx, c, e.id)
	if err != nil {
		return
	}
	e.most = max(e.most, n.Replicas)
	e.bar.Set(int64(e.most-n.Replicas), int64(e.most))
	if n.Blocked != "" && n.Blocked != e.blocked {
		say := e.a.Note
		if e.bar != nil {
			say = e.bar.Say
		}
		say("%d replicas left on %s; blocked: %s", n.Replicas, e.id, term.OneLine(n.Blocked))
	}
	e.blocked = n.Blocked
}

func newRecommissionCommand(a app) *cobra.Command {
	w := &work{a: a, waiting: true}
	cmd := &cobra.Command{
		Use: "recommission NODE", Short: "Let a node take replicas again, and end its decommission", Args: cli.Takes(1, 1),
		Example: "  datanode node recommission n2",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			admitted, err := w.submit(ctx, c, []wire.Submission{{Kind: "recommission", Node: args[0]}})
			return w.finish(ctx, c, admitted, err)
		}),
	}
	w.waitFlags(cmd)
	return cmd
}
