package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"

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
	Raw      string         `json:"raw,omitempty"` // the stored record, in hexadecimal
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
	var raw bool
	cmd := &cobra.Command{
		Use: "show INDEX|OP", Short: "Show one entry in full", Args: cli.Takes(1, 1),
		Long: "Show one entry in full, or the one that admitted an operation, with what it changed in the state, and what " +
			"of it was refused: the entries before it are applied again, from a snapshot or the first one. With --raw " +
			"come the bytes as they are stored.",
		Example: "  datanode log show 4711\n  datanode log show 4711.3 --dir /srv/n1\n" +
			"  datanode log show 4711 --raw --dir /srv/n1",
		RunE: source.with(a, func(ctx context.Context, s logs.Source, args []string) error {
			op, err := state.ParseOpID(args[0])
			if err != nil {
				return exit.Usagef("%q is not an index of the log, such as 4711; see log ls", args[0])
			}
			folder, ok := s.(*logs.Folder)
			if raw && !ok {
				return exit.Usagef("--raw needs --dir: the bytes are in the data folder of a stopped node")
			}
			index := uint64(op.Index())
			for e, err := range s.Entries(ctx, logs.Range{From: index, To: index}) {
				if err != nil {
					return err
				}
				if e.Index() == index {
					out, fields := shown(ctx, a, s, e.Wire())
					return printEntry(a, out, fields, raw, folder)
				}
			}
			return noSuchEntry(ctx, s, index)
		}),
	}
	source.flags(cmd)
	cmd.Flags().BoolVar(&raw, "raw", false, "with --dir: the bytes of the entry too, as they are stored")
	return cmd
}

// printEntry prints an entry, and its bytes when they are asked for.
func printEntry(a app, out shownEntry, fields []term.Field, raw bool, folder *logs.Folder) error {
	if !raw {
		return term.Show(a.Terminal, out, fields)
	}
	record := folder.Record(state.Index(out.Index))
	out.Raw = hex.EncodeToString(record)
	if err := term.Show(a.Terminal, out, fields); err != nil || a.Output != term.FormatTable {
		return err
	}
	if record == nil {
		a.Note("datanode: the page of entry %d cannot be read, so its bytes cannot be shown", out.Index)
	}
	_, err := fmt.Fprintf(a.Stdout, "\n%s", hex.Dump(record))
	return err
}

// noSuchEntry says which entries there are instead.
func noSuchEntry(ctx context.Context, s logs.Source, index uint64) error {
	name, first, last, err := logs.Bounds(ctx, s)
	if err != nil {
		return err
	}
	return exit.With(exit.NotFound, "%s has no entry %d; it has %d to %d", name, index, first, last)
}

// shown is an entry in full, with what it changed as far as that can be told.
func shown(ctx context.Context, a app, s logs.Source, e wire.LogEntry) (shownEntry, []term.Field) {
	out := shownEntry{LogEntry: e}
	fields := []term.Field{{"index", term.Count(e.Index)}, {"term", term.Count(e.Term)}, {"time", term.Stamp(e.Micros)},
		{"type", e.Type}, {"bytes", term.Count(e.Bytes)}}
	for _, c := range e.Commands {
		full := json.RawMessage(c.JSON)
		if !json.Valid(full) {
			full = json.RawMessage("{}")
		}
		command := shownCommand{c.Type, c.Text, c.AskedBy, full, logs.Fields(c)}
		out.Commands = append(out.Commands, command)
		fields = append(fields, term.Field{"command", commandText(c)})
		for _, f := range command.Fields {
			fields = append(fields, term.Field{"  " + f.Name, term.OneLine(f.Value)})
		}
		if command.Fields == nil {
			fields = append(fields, term.Field{"", string(full)})
		}
	}
	if len(e.Commands) > 0 {
		changed, known, err := logs.Changes(ctx, s, e.Index)
		switch {
		case err != nil:
			a.Note("datanode: what it changed cannot be told: %v", err)
		case !known:
			a.Note("datanode: what it changed, and whether it was refused, cannot be told: the entries before it, or a " +
				"snapshot of them, are not there, or not shown to this certificate")
		}
		out.Changes = changed
		for _, c := range changed {
			fields = append(fields, term.Field{c.What, term.OneLine(c.String())})
		}
	}
	return out, fields
}
