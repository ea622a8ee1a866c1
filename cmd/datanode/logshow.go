package main

import (
	"context"
	"encoding/json"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/logs"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/spf13/cobra"
)

// shownEntry is a log entry with its commands in full.
type shownEntry struct {
	wire.LogEntry
	Commands []shownCommand `json:"commands"`
	Changes  []logs.Changed `json:"changes,omitempty"`
}

type shownCommand struct {
	Type    string            `json:"type"`
	Text    string            `json:"text"`
	AskedBy string            `json:"asked_by,omitempty"`
	Full    json.RawMessage   `json:"command"`
	Fields  []logs.NamedField `json:"fields"`
}

func newLogShowCommand(a app) *cobra.Command {
	var source logSource
	cmd := &cobra.Command{
		Use: "show INDEX|OP", Short: "Show one entry in full", Args: cli.Takes(1, 1),
		Long: "Show one entry in full, or the one that admitted an operation. With --dir it says too what the entry " +
			"changed in the state: the entries before it are applied again.",
		Example: "  datanode log show 4711\n  datanode log show 4711.3 --dir /srv/n1",
		RunE: source.with(a, func(ctx context.Context, s logs.Source, args []string) error {
			op, err := state.ParseOpID(args[0])
			if err != nil {
				return exit.Usagef("%q is not an index of the log, such as 4711; see log ls", args[0])
			}
			index := uint64(op.Index())
			for e, err := range s.Entries(ctx, logs.Range{From: index, To: index}) {
				if err != nil {
					return err
				}
				if e.Index() == index {
					return showEntry(a, s, e.Wire())
				}
			}
			return noSuchEntry(ctx, s, index)
		}),
	}
	source.flags(cmd)
	return cmd
}

// noSuchEntry says which entries there are instead.
func noSuchEntry(ctx context.Context, s logs.Source, index uint64) error {
	name, first, last, err := logs.Bounds(ctx, s)
	if err != nil {
		return err
	}
	return exit.With(exit.NotFound, "%s has no entry %d; it has %d to %d", name, index, first, last)
}

func showEntry(a app, s logs.Source, e wire.LogEntry) error {
	out := shownEntry{LogEntry: e}
	fields := []term.Field{{"index", term.Count(e.Index)}, {"term", term.Count(e.Term)}, {"time", term.Stamp(e.Micros)},
		{"type", e.Type}, {"bytes", term.Count(e.Bytes)}}
	for _, c := range e.Commands {
		full := json.RawMessage(c.JSON)
		if !json.Valid(full) {
			full = json.RawMessage("{}")
		}
		shown := shownCommand{c.Type, c.Text, c.AskedBy, full, logs.Fields(c)}
		out.Commands = append(out.Commands, shown)
		fields = append(fields, term.Field{"command", commandText(c)})
		for _, f := range shown.Fields {
			fields = append(fields, term.Field{"  " + f.Name, term.OneLine(f.Value)})
		}
		if shown.Fields == nil {
			fields = append(fields, term.Field{"", string(full)})
		}
	}
	if folder, ok := s.(*logs.Folder); ok && len(e.Commands) > 0 {
		changed, err := folder.Changes(e.Index)
		if err != nil {
			a.Note("datanode: what it changed cannot be told: %v", err)
		}
		out.Changes = changed
		for _, c := range changed {
			fields = append(fields, term.Field{c.What, term.OneLine(c.String())})
		}
	}
	return term.Show(a.Terminal, out, fields)
}
