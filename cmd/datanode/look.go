package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

func newSettingsCommand(a app) *cobra.Command {
	get := &cobra.Command{
		Use: "get [KEY]", Short: "Print one setting, or all", Args: cli.Takes(0, 1),
		Example: "  datanode settings get\n  datanode settings get repair-delay",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			all, err := c.Settings(ctx)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return printSetting(a, all, args[0])
			}
			return term.List(a.Terminal, term.Items(all),
				term.Col("KEY", func(s wire.Setting) string { return s.Key }),
				term.Col("VALUE", func(s wire.Setting) string { return s.Value }),
				term.Col("HELP", func(s wire.Setting) string { return s.Help }))
		}),
	}
	set := &cobra.Command{
		Use: "set KEY VALUE", Short: "Change a setting for the whole cell; prints what it is now", Args: cli.Takes(2, 2),
		Example: "  datanode settings set repair-delay 90s",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			failed := c.SetSetting(ctx, args[0], args[1])
			if failed != nil && wire.CodeOf(failed) != wire.CodeInvalid {
				return failed
			}
			all, err := c.Settings(ctx)
			switch {
			case failed == nil && err != nil:
				return fmt.Errorf("it is set, but cannot be shown: %w", err)
			case failed == nil:
				a.warnOfFew(ctx, c, all, args[0])
				return printSetting(a, all, args[0])
			case err == nil && !slices.ContainsFunc(all, func(s wire.Setting) bool { return s.Key == args[0] }):
				return fmt.Errorf("%w; see settings get", failed)
			}
			return failed
		}),
	}
	return cli.Group("settings", "Read and change the settings of the cell", "", get, set)
}

// warnOfFew says what a setting asks for that the cell does not have: more disks than there are nodes.
func (a app) warnOfFew(ctx context.Context, c *client.Client, all []wire.Setting, key string) {
	if key != "replicas" && key != "min-replicas" {
		return
	}
	nodes, err := c.Nodes(ctx)
	if err != nil {
		a.Note("datanode: it is set; how many nodes there are for it cannot be told: %s", term.OneLine(err.Error()))
		return
	}
	takers := 0
	for _, n := range nodes {
		if n.Mode == "active" {
			takers++
		}
	}
	for _, text := range fewText(all, takers) {
		a.Note("datanode: %s", text)
	}
}

// fewText is what comes of settings that ask for more disks than so many nodes have.
func fewText(all []wire.Setting, takers int) (says []string) {
	value := func(key string) int {
		for _, s := range all {
			if s.Key == key {
				n, _ := strconv.Atoi(s.Value) // 0, of which there are enough
				return n
			}
		}
		return 0
	}
	if n := value("replicas"); n > takers {
		says = append(says, fmt.Sprintf("replicas is %d, and only %d nodes take any: until there are more, "+
			"extents are on %d disks and count as lacking",
			n, takers, takers))
	}
	if n := value("min-replicas"); n > takers {
		says = append(says, fmt.Sprintf("min-replicas is %d, and only %d nodes take any: until there are more, "+
			"puts are refused", n, takers))
	}
	return says
}

func printSetting(a app, all []wire.Setting, key string) error {
	for _, s := range all {
		if s.Key != key {
			continue
		}
		if a.Output == term.FormatTable {
			return a.Print("%s", s.Value)
		}
		return term.Show(a.Terminal, s, nil)
	}
	return wire.Errorf(wire.OpSettings, wire.CodeNotFound, "there is no setting %q; see settings get", key)
}

func newConnsCommand(a app) *cobra.Command {
	var node string
	cmd := &cobra.Command{
		Use: "conns", Short: "List a node's connections, and the calls in flight on them", Args: cli.Takes(0, 0),
		Example: "  datanode conns --node n2",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, _ []string) error {
			addr, err := nodeAddr(ctx, c, node)
			if err != nil {
				return err
			}
			reply, err := c.Conns(ctx, addr)
			if err != nil {
				return ofNode(node, err)
			}
			type conn = wire.Connection
			return term.List(a.Terminal, term.Items(reply.Conns),
				term.Col("PEER", func(n conn) string { return n.Peer }),
				term.Col("ROLE", func(n conn) string { return n.Role }),
				term.Col("DIR", func(n conn) string { return n.Direction }),
				term.Col("PROTOCOL", func(n conn) string { return n.Protocol }),
				term.Col("REMOTE", func(n conn) string { return n.Remote }),
				term.Col("IN", func(n conn) string { return term.Count(n.BytesIn) }),
				term.Col("OUT", func(n conn) string { return term.Count(n.BytesOut) }),
				term.Col("STALLS", func(n conn) string { return term.Count(n.Stalls) }),
				term.Col("MISMATCHES", func(n conn) string { return term.Count(n.Mismatches) }),
				term.Col("SINCE", func(n conn) string { return term.Stamp(n.Since) }),
				term.Col("OLDEST", oldestText),
				term.Col("SESSIONS", sessionsText),
				term.Col("IN-FLIGHT", callsText))
		}),
	}
	cmd.Flags().StringVar(&node, "node", "", "of this node (default: the one that answers)")
	return cmd
}

// oldestText is the age of the oldest call in flight, and what it does.
func oldestText(n wire.Connection) string {
	if n.Oldest == "" {
		return ""
	}
	return fmt.Sprintf("%s=%s", n.Oldest, (time.Duration(n.OldestCall) * time.Microsecond).Round(time.Millisecond))
}

// sessionsText are the sessions in use, with the bytes that each may still send.
func sessionsText(n wire.Connection) string {
	all := make([]string, len(n.Sessions))
	for i, s := range n.Sessions {
		all[i] = fmt.Sprintf("%s=%s", s.Session, term.Count(s.Credit))
	}
	return strings.Join(all, ",")
}

func callsText(n wire.Connection) string {
	all := make([]string, len(n.InFlight))
	for i, call := range n.InFlight {
		all[i] = fmt.Sprintf("%s=%d", strings.Trim(call.Op+"/"+call.Session, "/"), call.Count)
	}
	return strings.Join(all, ",")
}

func newVersionCommand(a app) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print what this program was built from", Args: cli.Takes(0, 0),
		RunE: func(*cobra.Command, []string) error {
			b := cli.BuildInfo()
			if a.Output != term.FormatTable {
				return term.Show(a.Terminal, b, nil)
			}
			return a.Print("datanode %s (%s, %s, protocol %d)", b.Version, b.Go, b.Platform, b.Protocol)
		},
	}
}
