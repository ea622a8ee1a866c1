package main

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

// newestEntries is how many entries log ls shows unless a flag says otherwise.
const newestEntries = 20

func newLogCommand(a app) *cobra.Command {
	return cli.Group("log", "Read, verify and compare the operation log", "",
		newLogListCommand(a), newLogShowCommand(a), newLogVerifyCommand(a), newLogDiffCommand(a))
}

func newLogListCommand(a app) *cobra.Command {
	var req wire.LogRequest
	cmd := &cobra.Command{
		Use: "ls", Short: "List entries of the log; the newest unless --from is given", Args: cli.Takes(0, 0),
		Example: "  datanode log ls --limit 5\n  datanode log ls --from 100 --to 120 --node n2 -o jsonl",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, _ []string) error {
			if req.To > 0 && req.From > req.To {
				return exit.Usagef("--from %d is behind --to %d", req.From, req.To)
			}
			if req.To > 0 && req.From == 0 {
				req.From = 1
			}
			return term.List(a.Terminal, logEntries(ctx, c, req),
				term.Col("INDEX", func(e wire.LogEntry) string { return term.Count(e.Index) }),
				term.Col("TERM", func(e wire.LogEntry) string { return term.Count(e.Term) }),
				term.Col("TIME", func(e wire.LogEntry) string { return term.Stamp(e.Micros) }),
				term.Col("BYTES", func(e wire.LogEntry) string { return term.Count(e.Bytes) }),
				term.Col("TYPE", func(e wire.LogEntry) string { return e.Type }),
				term.Col("ASKED-BY", askers),
				term.Col("COMMANDS", commandTexts))
		}),
	}
	flags := cmd.Flags()
	flags.Uint64Var(&req.From, "from", 0, "first index")
	flags.Uint64Var(&req.To, "to", 0, "last index")
	flags.IntVar(&req.Limit, "limit", 0, fmt.Sprintf("at most this many (default: %d, or all with --from)", newestEntries))
	flags.StringVar(&req.Node, "node", "", "this node's log (default: that of the node that answers)")
	return cmd
}

func logEntries(ctx context.Context, c *client.Client, req wire.LogRequest) iter.Seq2[wire.LogEntry, error] {
	if req.From > 0 {
		return atMost(c.LogRange(ctx, req.Node, req.From, req.To), req.Limit)
	}
	if req.Limit <= 0 {
		req.Limit = newestEntries
	}
	return func(yield func(wire.LogEntry, error) bool) {
		reply, err := c.LogEntries(ctx, req)
		if err != nil {
			yield(wire.LogEntry{}, err)
			return
		}
		term.Items(reply.Entries)(yield)
	}
}

// askers are those who asked for the commands of an entry, each once.
func askers(e wire.LogEntry) string {
	var all []string
	for _, c := range e.Commands {
		if who := term.OneLine(c.AskedBy); who != "" && !slices.Contains(all, who) {
			all = append(all, who)
		}
	}
	return strings.Join(all, ",")
}

func commandTexts(e wire.LogEntry) string {
	all := make([]string, len(e.Commands))
	for i, c := range e.Commands {
		all[i] = commandText(c)
	}
	return strings.Join(all, "; ")
}

// commandText is a command's type, and what it says.
func commandText(c wire.LogCommand) string { return term.OneLine(c.Type + " " + c.Text) }

// shownEntry is a log entry with its commands in full.
type shownEntry struct {
	wire.LogEntry
	Commands []shownCommand `json:"commands"`
}

type shownCommand struct {
	Type    string          `json:"type"`
	Text    string          `json:"text"`
	AskedBy string          `json:"asked_by,omitempty"`
	Full    json.RawMessage `json:"command"`
}

func newLogShowCommand(a app) *cobra.Command {
	var node string
	cmd := &cobra.Command{
		Use: "show INDEX", Short: "Show one entry in full", Args: cli.Takes(1, 1), Example: "  datanode log show 4711",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			index, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil || index == 0 {
				return exit.Usagef("%q is not an index of the log, such as 4711; see log ls", args[0])
			}
			reply, err := c.LogEntries(ctx, wire.LogRequest{Node: node, From: index, To: index, Limit: 1})
			if err != nil {
				return err
			}
			if len(reply.Entries) == 0 || reply.Entries[0].Index != index {
				return wire.Errorf(wire.OpLogList, wire.CodeNotFound, "%s has no entry %d; it has %d to %d", reply.Node, index,
					reply.First, reply.Last)
			}
			return showEntry(a, reply.Entries[0])
		}),
	}
	cmd.Flags().StringVar(&node, "node", "", "from this node's log (default: that of the node that answers)")
	return cmd
}

func showEntry(a app, e wire.LogEntry) error {
	out := shownEntry{LogEntry: e}
	fields := []term.Field{{"index", term.Count(e.Index)}, {"term", term.Count(e.Term)}, {"time", term.Stamp(e.Micros)},
		{"type", e.Type}, {"bytes", term.Count(e.Bytes)}}
	for _, c := range e.Commands {
		full := json.RawMessage(c.JSON)
		if !json.Valid(full) {
			full = json.RawMessage("{}")
		}
		out.Commands = append(out.Commands, shownCommand{c.Type, c.Text, c.AskedBy, full})
		fields = append(fields, term.Field{"command", commandText(c)})
		if c.AskedBy != "" {
			fields = append(fields, term.Field{"asked by", term.OneLine(c.AskedBy)})
		}
		fields = append(fields, term.Field{"", string(full)})
	}
	return term.Show(a.Terminal, out, fields)
}

func newLogVerifyCommand(a app) *cobra.Command {
	var nodes []string
	cmd := &cobra.Command{
		Use: "verify", Short: "Have nodes read their stored log again and check every entry", Args: cli.Takes(0, 0),
		Long: "Have nodes read their stored log again, checksums and chain. Exit code 6 says that one is damaged.",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, _ []string) error {
			ids, err := nodesToAsk(ctx, a, c, nodes)
			if err != nil {
				return err
			}
			bad := 0
			err = term.List(a.Terminal, verifyLogs(ctx, c, ids, &bad),
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
		}),
	}
	cmd.Flags().StringSliceVar(&nodes, "node", nil, "these nodes (default: all that are up)")
	return cmd
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

// nodesToAsk are the nodes named, or all that are up. Those that are not are reported, since what is said
// then does not hold for them.
func nodesToAsk(ctx context.Context, a app, c *client.Client, named []string) ([]string, error) {
	if len(named) > 0 {
		return named, nil
	}
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, n := range nodes {
		if n.State == "up" {
			ids = append(ids, n.ID)
		} else {
			a.Note("datanode: %s is %s and was not asked", term.OneLine(n.ID), n.State)
		}
	}
	if len(ids) == 0 {
		return nil, wire.Errorf(wire.OpNodes, wire.CodeUnavailable, "no node of the cell is up")
	}
	return ids, nil
}

// shortHash is enough of a hash to compare by eye.
func shortHash(s string) string {
	const enough = 16
	return s[:min(len(s), enough)]
}
