package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

// statusPatience is how long a node has to answer. Whoever asks for the status may well ask because something is
// wrong, and wants to know.
const statusPatience = 2500 * time.Millisecond

func newStatusCommand(a app) *cobra.Command {
	var node string
	cmd := &cobra.Command{
		Use: "status", Short: "Describe the cell as a node sees it", Args: cli.Takes(0, 0),
		Example: "  datanode status\n  datanode status --node n2 -o json",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, _ []string) error {
			s, err := a.status(ctx, c, node)
			if err != nil {
				return ofNode(node, err)
			}
			return errors.Join(term.Show(a.Terminal, s, statusFields(s)), noLeader(s))
		}),
	}
	cmd.Flags().StringVar(&node, "node", "", "as this node sees it (default: the one that answers)")
	return cmd
}

// status is what the named node says, or the first of the addresses to answer: one that is silent must not hold up what
// another can tell.
func (a app) status(ctx context.Context, c *client.Client, node string) (wire.Status, error) {
	addr, err := nodeAddr(ctx, c, node)
	if err != nil {
		return wire.Status{}, err
	}
	addrs := a.Addrs()
	if node != "" || len(addrs) < 2 {
		ctx, cancel := context.WithTimeout(ctx, statusPatience)
		defer cancel()
		return c.StatusOf(ctx, addr)
	}
	type answer struct {
		wire.Status
		err error
	}
	limited, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	answers := make(chan answer, len(addrs))
	for _, addr := range addrs {
		go func() {
			s, err := c.StatusOf(limited, addr)
			answers <- answer{s, err}
		}()
	}
	var errs []error
	for range addrs {
		got := <-answers
		if got.err == nil {
			return got.Status, nil
		}
		errs = append(errs, got.err)
	}
	if limited.Err() == nil {
		return c.Status(limited) // it says best what to do when none can be reached
	}
	return wire.Status{}, wire.Errorf(wire.OpStatus, wire.CodeUnavailable, "no node answers: %s", joined(errs))
}

func joined(errs []error) string { return strings.ReplaceAll(errors.Join(errs...).Error(), "\n", "; ") }

// noLeader says what a cell without a leader misses; nil when there is one.
func noLeader(s wire.Status) error {
	if s.Leader != "" {
		return nil
	}
	var silent []string
	for _, v := range s.Voters {
		if !v.Answers {
			silent = append(silent, v.Node+" ("+v.Addr+")")
		}
	}
	text := "the cell has no leader"
	if s.Since != 0 {
		text += " since " + term.Stamp(s.Since)
	}
	switch most := len(s.Voters)/2 + 1; {
	case len(s.Voters) == 0:
	case len(s.Voters)-len(silent) < most:
		text += fmt.Sprintf(": %d of its %d voters answer, and %d must; start %s",
			len(s.Voters)-len(silent), len(s.Voters), most, strings.Join(silent, ", "))
	case len(silent) > 0:
		text += fmt.Sprintf(", although enough of its voters answer; %s does not; ask again in a moment",
			strings.Join(silent, ", "))
	default:
		text += ", although all of its voters answer; ask again in a moment"
	}
	return exit.With(exit.Unavailable, "%s", text)
}

// votersText lists the voters; those that are silent are marked.
func votersText(s wire.Status) string {
	var all []string
	for _, v := range s.Voters {
		text := v.Node
		if !v.Answers {
			text += " (no answer)"
		}
		all = append(all, text)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func statusFields(s wire.Status) []term.Field {
	fields := []term.Field{
		{"cell", s.Cell}, {"asked", s.Node}, {"leader", orNone(s.Leader)}, {"no leader since", term.Stamp(s.Since)},
		{"voters", votersText(s)}, {"ready", term.YesNo(s.Ready)},
		{"nodes", fmt.Sprintf("%d of %d up", s.Up, s.Nodes)}, {"extents", term.Count(s.Extents)},
		{"replicas", term.Count(s.Replicas)},
		{"lacking", fmt.Sprintf("%d extents have too few live replicas", s.Lacking)},
		{"queued", term.Count(s.Queued)}, {"running", term.Count(s.Running)}, {"dropping", term.Count(s.Dropping)},
		{"policy", s.Policy}, {"digest", s.Digest}, {"policy epoch", term.Count(s.Epoch)},
		{"term", term.Count(s.Term)}, {"applied", term.Count(s.Applied)}, {"commit", term.Count(s.Commit)},
		{"chain", s.Chain}, {"version", s.Version},
		{"free", freeText(wire.Node{Free: s.Free, Total: s.Total})}, {"refuses", s.Refuses},
	}
	fields = append(fields, term.Field{"by kind", countsText(s.ByKind)}, term.Field{"by class", countsText(s.ByClass)},
		term.Field{"by node", nodeCountsText(s.ByNode)})
	fields = append(fields, notOKFields(s.Disks)...)
	fields = append(fields, pausedFields(s.Paused)...)
	if s.Kept > 0 {
		fields = append(fields, term.Field{"kept", fmt.Sprintf("%d deleted extents for undelete, %s bytes of files", s.Kept,
			state.Roughly(s.KeptBytes))})
	}
	for _, p := range s.Parted {
		fields = append(fields, term.Field{"parted", partedText(p)})
	}
	for _, q := range s.Quotas {
		fields = append(fields, term.Field{"quota", quotaText(q)})
	}
	return fields
}

// quotaText says what is used of a quota: "class=logs 1.2Gi of 10Gi bytes, 3 of 100 extents".
func quotaText(q wire.QuotaUsage) string {
	bytes, extents := state.Roughly(q.Bytes)+" bytes", term.Count(q.Extents)+" extents"
	if q.MostBytes != wire.NoLimit {
		bytes = fmt.Sprintf("%s of %s bytes", state.Roughly(q.Bytes), state.Roughly(uint64(q.MostBytes)))
	}
	if q.MostExtents != wire.NoLimit {
		extents = fmt.Sprintf("%d of %d extents", q.Extents, q.MostExtents)
	}
	return fmt.Sprintf("%s=%s %s, %s", q.By, q.Name, bytes, extents)
}

// countsText are counts of open operations, such as "move 12 queued, 4 running; repair 1 running".
func countsText(counts []wire.OpCount) string {
	var all []string
	for _, c := range counts {
		name := c.Name
		if name == "" {
			name = "(none)"
		}
		all = append(all, name+" "+loadText(c.Queued, c.Running))
	}
	return strings.Join(all, "; ")
}

func nodeCountsText(counts []wire.NodeOpCount) string {
	var all []string
	for _, c := range counts {
		var sides []string
		if c.SourceQueued+c.SourceRunning > 0 {
			sides = append(sides, "source of "+loadText(c.SourceQueued, c.SourceRunning))
		}
		if c.TargetQueued+c.TargetRunning > 0 {
			sides = append(sides, "target of "+loadText(c.TargetQueued, c.TargetRunning))
		}
		all = append(all, c.Node+" "+strings.Join(sides, ", "))
	}
	return strings.Join(all, "; ")
}

func loadText(queued, running int) string {
	switch {
	case queued == 0:
		return term.Count(running) + " running"
	case running == 0:
		return term.Count(queued) + " queued"
	}
	return fmt.Sprintf("%d queued, %d running", queued, running)
}

// partedText says of a node that its history is another one.
func partedText(p wire.Parted) string {
	return fmt.Sprintf("%s has another history of the cell: at entry %d its chain is %s, the leader's %s",
		p.Node, p.Index, shortHash(p.Theirs), shortHash(p.Ours))
}
