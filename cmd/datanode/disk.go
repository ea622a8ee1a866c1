package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

func newDiskCommand(a app) *cobra.Command {
	return cli.Group("disk", "List, drain and replace the disks of nodes", "", newDiskListCommand(a),
		newDiskDrainCommand(a), newDiskReplaceCommand(a))
}

// diskPatience is how long disk ls waits for one node.
const diskPatience = 5 * time.Second

func newDiskListCommand(a app) *cobra.Command {
	var node string
	cmd := &cobra.Command{
		Use: "ls", Short: "List the disks of all nodes, or of one", Args: cli.Takes(0, 0),
		Example: "  datanode disk ls\n  datanode disk ls --node n2",
		Long: `List the disks of all nodes, or of one: what extents may still take (FREE), what they have taken (USED), and
how each disk is:

  ok        it takes extents; REFUSES says why it takes none now
  draining  what it has is moved to the other disks of its node, and nothing new goes there: EXTENTS and USED are
            what is left, RATE is the bytes a second, and WHY says what cannot be moved now
  drained   all of that is done: it is safe to remove
  failed    a sync of it has failed, it hangs, or it could not be opened: nothing is written to it before the node
            starts again, and what it has is repaired elsewhere
  missing   it was a disk of the node before and was not there when the node started

d0 is the one with the operation log. A node that does not answer is named on stderr, and the exit code is 5 then.`,
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, _ []string) error {
			all, err := disksOf(ctx, c, node)
			if err != nil && len(all) == 0 {
				return ofNode(node, err)
			}
			return errors.Join(term.List(a.Terminal, term.Items(all),
				term.Col("NODE", func(d wire.Disk) string { return d.Node }),
				term.Col("DISK", func(d wire.Disk) string { return d.Disk }),
				term.Col("STATE", func(d wire.Disk) string { return d.State }),
				term.Col("EXTENTS", func(d wire.Disk) string { return term.Count(d.Extents) }),
				term.Col("USED", func(d wire.Disk) string { return roughly(d.Used) }),
				term.Col("FREE", func(d wire.Disk) string { return freeText(wire.Node{Free: d.Free, Total: d.Total}) }),
				term.Col("RATE", rateCell),
				term.Col("DIR", func(d wire.Disk) string { return d.Dir }),
				term.Col("REFUSES", func(d wire.Disk) string { return term.OneLine(d.Refuses) }),
				term.Col("WHY", diskWhy)), err)
		}),
	}
	cmd.Flags().StringVar(&node, "node", "", "of this node only (default: of all)")
	return cmd
}

func rateCell(d wire.Disk) string {
	if d.Rate == 0 {
		return ""
	}
	return roughly(d.Rate) + "/s"
}

func diskWhy(d wire.Disk) string { return term.OneLine(cmp.Or(d.Why, d.Blocked)) }

// disksText names disks that are not ok: d1 failed, d2 draining.
func disksText(disks []wire.NodeDisk) string {
	var all []string
	for _, d := range disks {
		all = append(all, d.Disk+" "+d.State)
	}
	return strings.Join(all, ", ")
}

// largestText is what one extent may take on a node at most, if that is less than what is free there.
func largestText(n wire.Node) string {
	if n.Largest == 0 {
		return ""
	}
	return roughly(n.Largest) + " on one disk"
}

// notOKFields say which disks are not ok, since when, and what to do.
func notOKFields(disks []wire.NodeDisk) (fields []term.Field) {
	for _, d := range disks {
		text := fmt.Sprintf("%s of %s is %s", d.Disk, d.Node, d.State)
		if d.Since != 0 {
			text += " since " + term.Stamp(d.Since)
		}
		if d.Why != "" {
			text += ": " + term.OneLine(d.Why)
		}
		fields = append(fields, term.Field{"disk", text + " (" + d.Todo() + ")"})
	}
	return fields
}

func newDiskDrainCommand(a app) *cobra.Command {
	cancel := false
	cmd := &cobra.Command{
		Use: "drain NODE DISK", Short: "Move all that a disk has to the other disks of its node", Args: cli.Takes(2, 2),
		Example: "  datanode disk drain n2 d1\n  datanode disk drain n2 d1 --cancel",
		Long: `Move all that a disk has to the other disks of its node, so that it can be taken out. It is remembered until
--cancel: a restart goes on with it. Nothing new goes to the disk from now on. Open extents on it are sealed
first. Moves are as slow as other copies (the setting copy-pace), and clients come before them.

Nothing is removed from the disk before another one has it, whole and compared with the operation log. "datanode disk ls
--node NODE" shows how far it is, what holds it up, and when the disk is drained: safe to remove. d0 has the
operation log and cannot be drained; to empty a whole node, use "datanode node decommission".`,
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			change := wire.DiskDrain
			if cancel {
				change = wire.DiskKeep
			}
			disk, err := c.ChangeDisk(ctx, args[0], args[1], change)
			if err != nil {
				return ofNode(args[0], err)
			}
			return term.Show(a.Terminal, disk, diskFields(disk))
		}),
	}
	cmd.Flags().BoolVar(&cancel, "cancel", false, "do not drain it any more: what was moved stays where it is")
	return cmd
}

func newDiskReplaceCommand(a app) *cobra.Command {
	return &cobra.Command{
		Use: "replace NODE DISK", Short: "Take a drained, failed or missing disk out for good", Args: cli.Takes(2, 2),
		Example: "  datanode disk replace n2 d1",
		Long: `Take a disk out of its node for good: one that is drained, or one that failed or is missing and will not come
back. It is no longer counted as missing, and its folder is refused by name should it turn up again. To put another disk
in its place, start the node the next time with an empty folder as --dir instead of the old one.

It is refused while the cell counts on what only that disk may have: until that is repaired elsewhere, or for as long as
an extent has its last replica there.`,
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			disk, err := c.ChangeDisk(ctx, args[0], args[1], wire.DiskReplace)
			if err != nil {
				return ofNode(args[0], err)
			}
			return term.Show(a.Terminal, disk, diskFields(disk))
		}),
	}
}

// diskFields say how a disk is after a change.
func diskFields(d wire.Disk) []term.Field {
	state := d.State
	switch state {
	case wire.DiskDraining:
		state += "; datanode disk ls --node " + d.Node + " shows how far it is"
	case wire.DiskDrained:
		state += ": safe to remove"
	case wire.DiskGone:
		state += "; give " + d.Node + " an empty folder as --dir in its place when you start it next"
	}
	return []term.Field{
		{"node", d.Node}, {"disk", d.Disk}, {"dir", d.Dir}, {"state", state}, {"why", diskWhy(d)},
		{"extents", term.Count(d.Extents)}, {"used", roughly(d.Used)},
	}
}

// disksOf asks one node, or each. Its error is that of nodes that do not answer.
func disksOf(ctx context.Context, c *client.Client, node string) ([]wire.Disk, error) {
	ids := []string{node}
	if node == "" {
		nodes, err := c.Nodes(ctx)
		if err != nil {
			return nil, err
		}
		ids = nil
		for _, n := range nodes {
			ids = append(ids, n.ID)
		}
	}
	type answer struct {
		disks []wire.Disk
		err   error
	}
	answers := make([]chan answer, len(ids))
	for i, id := range ids {
		answers[i] = make(chan answer, 1)
		go func() {
			limited, cancel := context.WithTimeout(ctx, diskPatience)
			defer cancel()
			disks, err := c.Disks(limited, id)
			answers[i] <- answer{disks, err}
		}()
	}
	var all []wire.Disk
	var silent []string
	var errs error
	for i, id := range ids {
		got := <-answers[i]
		if all = append(all, got.disks...); got.err != nil {
			silent, errs = append(silent, id), errors.Join(errs, got.err)
		}
	}
	if len(silent) == 0 {
		return all, nil
	}
	return all, wire.Errorf(wire.OpDisks, wire.CodeUnavailable, "no answer from %s: %v", strings.Join(silent, ", "), errs)
}
