package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

// namedAtStake is how many extents are named that a stop would make unreadable or unwritable.
const namedAtStake = 20

func newOKToStopCommand(a app) *cobra.Command {
	limit := namedAtStake
	cmd := &cobra.Command{
		Use: "ok-to-stop NODE ...", Short: "Tell whether nodes can be stopped now, all at once", Args: cli.Takes(1, -1),
		Long: `Tell whether nodes can be stopped now, all at once, so that what can be read stays readable, puts go on, and
enough votes are left. It only looks. Nodes that are down, silent or not to be counted on count as stopped
already, and so do suspect replicas; what they make unreadable without this stop is not held against it.

It exits with 0 when that is so, and with 4 when it is not: then it names the first extents that could not be read or
written to, and counts all of them.`,
		Example: "  datanode node ok-to-stop n2\n  datanode node ok-to-stop n2 n3 -o json\n" +
			"  datanode node ok-to-stop n2 --limit 0      every extent",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			if limit < 0 {
				return exit.Usagef("--limit %d: want how many extents to name, or 0 for all", limit)
			}
			s, err := stopping(ctx, c, args, limit)
			if err != nil {
				return err
			}
			return errors.Join(term.Show(a.Terminal, s, stopFields(s)), notSafe(s))
		}),
	}
	cmd.Flags().IntVar(&limit, "limit", namedAtStake, "name so many extents; 0: all")
	return cmd
}

// stopping asks whether nodes can be stopped, and has limit extents named, all for 0: page by page.
func stopping(ctx context.Context, c *client.Client, nodes []string, limit int) (wire.StopReply, error) {
	s, err := c.Stopping(ctx, wire.StopRequest{Nodes: nodes, Limit: limit})
	for err == nil && s.Next != 0 && (limit == 0 || len(s.Extents) < limit) {
		left := 0
		if limit > 0 {
			left = limit - len(s.Extents)
		}
		var more wire.StopReply
		more, err = c.Stopping(ctx, wire.StopRequest{Nodes: nodes, From: s.Next, Limit: left})
		more.Extents = append(s.Extents, more.Extents...)
		if more.Next != 0 && more.Next <= s.Next {
			return s, wire.Errorf(wire.OpStop, wire.CodeProtocol, "after extent %d came extent %d", s.Next, more.Next)
		}
		s = more
	}
	return s, err
}

// notSafe is the error of a stop that would lose something, nil for one that would not.
func notSafe(s wire.StopReply) error {
	if s.Safe {
		return nil
	}
	return exit.With(exit.Refused, "not ok to stop %s: %s", strings.Join(s.Nodes, ", "), strings.Join(s.Why, "; "))
}

func stopFields(s wire.StopReply) []term.Field {
	fields := []term.Field{
		{"nodes", strings.Join(s.Nodes, ", ")}, {"ok to stop", term.YesNo(s.Safe)},
		{"votes", fmt.Sprintf("%d of %d left, %d needed", s.VotesLeft, s.Voters, s.VotesNeeded)},
		{"take replicas", fmt.Sprintf("%d nodes left, %d needed", s.TakersLeft, s.TakersNeeded)},
		{"unreadable", term.Count(s.Unreadable)}, {"unwritable", term.Count(s.Unwritable)},
		{"one replica left", term.Count(s.Single)}, {"open", term.Count(s.Open)},
	}
	for _, why := range s.Why {
		fields = append(fields, term.Field{"why not", term.OneLine(why)})
	}
	for _, note := range s.Notes {
		fields = append(fields, term.Field{"note", term.OneLine(note)})
	}
	for _, e := range s.Extents {
		text := fmt.Sprintf("%d (%s) would be %s; %s", e.Extent, e.State, e.What, e.Why)
		fields = append(fields, term.Field{"extent", term.OneLine(text)})
	}
	if more := s.Unreadable + s.Unwritable - len(s.Extents); more > 0 {
		fields = append(fields, term.Field{"extent", fmt.Sprintf("and %d more; --limit 0 names all", more)})
	}
	return fields
}
