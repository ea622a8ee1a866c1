package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

// pausePoll is how often node pause looks whether the node can be stopped.
const pausePoll = 200 * time.Millisecond

// pauseUnseen is how often the node that is asked may not know of the pause yet.
const pauseUnseen = 50

func newPauseCommand(a app) *cobra.Command {
	w := &work{a: a, waiting: true}
	var length time.Duration
	cmd := &cobra.Command{
		Use: "pause NODE --for DURATION", Short: "Plan a stop of a node, so that nothing is repaired because of it",
		Args: cli.Takes(1, 1),
		Long: `Plan a stop of a node: for a new kernel, another disk, a restart. While it is paused nothing is repaired
because it is down, it keeps its vote, and it is given no replicas. It gives the lead away and its open extents are
sealed first, so that clients move on before it is stopped: the command waits for that and says when it is safe to
stop.

What is lost besides is repaired as ever: an extent whose other replicas are down for longer than repair-delay, or
damaged.

It is refused, with exit code 4, when the cell would miss the node: see node ok-to-stop. --force goes on all the same,
which is recorded. A pause ends by itself after --for, up to 24h, and with node resume. A restart of the node does not
end it: it takes no replicas until then. Asked for again, it lasts as long as asked for, from then on.`,
		Example: "  datanode node pause n2 --for 30m --dry-run\n  datanode node pause n2 --for 30m\n" +
			"  datanode node resume n2",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			if length <= 0 {
				return exit.Usagef("node pause needs --for, and for how long, such as 30m; see node pause --help")
			}
			req := wire.PauseRequest{Node: args[0], ForMicros: length.Microseconds(), Force: w.force, DryRun: w.dryRun}
			reply, err := c.Pause(ctx, req)
			if wire.CodeOf(err) == wire.CodePrecondition && !w.force {
				return w.pauseRefused(ctx, c, args[0], err)
			}
			if err != nil {
				return err
			}
			for _, why := range reply.Stop.Why {
				a.Note("datanode: the check says: %s; going on, as --force says", term.OneLine(why))
			}
			if w.dryRun {
				fields := append(stopFields(reply.Stop), term.Field{"plan", pausePlan(args[0], length)})
				return term.Show(a.Terminal, reply, fields)
			}
			return w.awaitStoppable(ctx, c, args[0])
		}),
	}
	w.waitFlags(cmd)
	w.checkFlags(cmd)
	cmd.Flags().DurationVar(&length, "for", 0, "for how long, such as 30m; up to 24h")
	return cmd
}

// pauseRefused shows why a node cannot be stopped, extent by extent.
func (w *work) pauseRefused(ctx context.Context, c *client.Client, id string, refused error) error {
	s, err := stopping(ctx, c, []string{id}, namedAtStake)
	if err != nil || s.Safe {
		return refused
	}
	return errors.Join(term.Show(w.a.Terminal, s, stopFields(s)), refused)
}

func pausePlan(id string, length time.Duration) string {
	return fmt.Sprintf("pause %s for %s: seal its open extents, give the lead away if it has it, and repair nothing "+
		"because it is down", id, length)
}

// awaitStoppable waits until a paused node can be stopped, unless nobody wants to, and says so.
func (w *work) awaitStoppable(ctx context.Context, c *client.Client, id string) error {
	said, unseen := "", 0
	for {
		n, err := cli.FindNode(ctx, c, id)
		if err != nil {
			return pauseDetached(ctx, err, id, said)
		}
		var p wire.NodePause
		if len(n.Paused) > 0 {
			p, unseen = n.Paused[0], pauseUnseen
		}
		switch {
		case len(n.Paused) == 0 && unseen >= pauseUnseen:
			return exit.With(exit.Failed, "the pause of %s has ended, or somebody has ended it", id)
		case len(n.Paused) == 0:
			unseen++ // the node that answers follows the log from behind
		case p.Waits == "" || !w.waits():
			return w.sayPaused(p)
		case p.Waits != said:
			w.a.Note("%s is paused until %s; not to be stopped yet: %s", id, term.Stamp(p.Until), term.OneLine(p.Waits))
			said = p.Waits
		}
		select {
		case <-time.After(pausePoll):
		case <-ctx.Done():
		}
	}
}

// pauseDetached is the error of whoever stopped waiting.
func pauseDetached(ctx context.Context, err error, id, waits string) error {
	look := "datanode node show " + id
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return exit.With(exit.Interrupted, "detached; %s stays paused, look again with: %s", id, look)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return exit.With(exit.Failed, "%s is paused, and not to be stopped yet within --timeout (%s); look again with: %s",
			id, term.OneLine(waits), look)
	}
	return fmt.Errorf("%w; %s is paused, look again with: %s", err, id, look)
}

func (w *work) sayPaused(p wire.NodePause) error {
	if w.a.Output != term.FormatTable {
		return term.Show(w.a.Terminal, p, nil)
	}
	if p.Waits != "" {
		return w.a.Print("%s is paused until %s; not to be stopped yet: %s", p.Node, term.Stamp(p.Until),
			term.OneLine(p.Waits))
	}
	if p.Forced {
		return w.a.Print("%s is paused until %s, by force: node ok-to-stop %s says what a stop would cost",
			p.Node, term.Stamp(p.Until), p.Node)
	}
	return w.a.Print("%s is paused until %s, and safe to stop", p.Node, term.Stamp(p.Until))
}

func newResumeCommand(a app) *cobra.Command {
	return &cobra.Command{
		Use: "resume NODE", Short: "End the pause of a node", Args: cli.Takes(1, 1),
		Long: `End the pause of a node: it is given replicas again. One that is down then counts as any other: it is repaired
elsewhere once it is down for longer than repair-delay, which it may be already.`,
		Example: "  datanode node resume n2",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			reply, err := c.Pause(ctx, wire.PauseRequest{Node: args[0], Resume: true})
			if err != nil {
				return err
			}
			if a.Output != term.FormatTable {
				return term.Show(a.Terminal, wire.NodePause{Node: reply.Node}, nil)
			}
			return a.Print("%s is not paused any more", args[0])
		}),
	}
}

// pausedCell is until when a node is paused.
func pausedCell(n wire.Node) string {
	var all []string
	for _, p := range n.Paused {
		all = append(all, term.Stamp(p.Until))
	}
	return strings.Join(all, ", ")
}

// pausedFields say which nodes are paused, until when, by whom, and whether they can be stopped.
func pausedFields(paused []wire.NodePause) (fields []term.Field) {
	for _, p := range paused {
		text := fmt.Sprintf("%s since %s until %s", p.Node, term.Stamp(p.Since), term.Stamp(p.Until))
		if p.By != "" {
			text += " by " + p.By
		}
		if p.Forced {
			text += ", by force"
		}
		if p.Waits != "" {
			text += "; not to be stopped yet: " + term.OneLine(p.Waits)
		} else if !p.Forced {
			text += "; safe to stop"
		}
		fields = append(fields, term.Field{"paused", text + " (datanode node resume " + p.Node + " ends it)"})
	}
	return fields
}
