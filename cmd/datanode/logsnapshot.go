package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/logs"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

func newLogSnapshotCommand(a app) *cobra.Command {
	return cli.Group("snapshot", "List, look into, compare and keep snapshots of the log",
		`A node puts the state of its log into a snapshot from time to time, and then forgets the entries before it. These
commands read the snapshots of a node that runs, those in the folder of one that has stopped, and those that were saved
to files. With certificates, a node shows its snapshots to admins only.`,
		newSnapshotListCommand(a), newSnapshotShowCommand(a), newSnapshotDiffCommand(a), newSnapshotSaveCommand(a),
		newSnapshotInspectCommand(a), newSnapshotTakeCommand(a))
}

// snapshotSource are the flags that say whose snapshots are read.
func snapshotSource(cmd *cobra.Command) *logSource {
	var l logSource
	cmd.Flags().StringVar(&l.node, "node", "", "this node's (default: those of the node that answers)")
	cmd.Flags().StringVar(&l.dir, "dir", "", "those in the data folder of a stopped node, without asking any")
	cmd.MarkFlagsMutuallyExclusive("node", "dir")
	return &l
}

func newSnapshotListCommand(a app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "ls", Short: "List the snapshots of a node, and say which are sound", Args: cli.Takes(0, 0),
		Long: "List the snapshots of a node, oldest first. Each is read in full. Exit code 6 says that one is damaged; " +
			"those that the node has set aside as damaged are listed too, and do not count.",
		Example: "  datanode log snapshot ls\n  datanode log snapshot ls --dir /srv/n1",
	}
	cmd.RunE = snapshotSource(cmd).with(a, func(ctx context.Context, s logs.Source, _ []string) error {
		name, all, err := logs.Snapshots(ctx, s)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			a.Note("datanode: %s has no snapshot yet: all that it knows is in the entries of its log", term.OneLine(name))
		}
		return listSnapshots(a, all)
	})
	return cmd
}

func listSnapshots(a app, all []wire.LogSnapshot) error {
	err := term.List(a.Terminal, term.Items(all),
		term.Col("ID", func(s wire.LogSnapshot) string { return s.ID }),
		term.Col("INDEX", func(s wire.LogSnapshot) string { return term.Number(s.Index) }),
		term.Col("TERM", func(s wire.LogSnapshot) string { return term.Number(s.Term) }),
		term.Col("APPLIED", func(s wire.LogSnapshot) string { return term.Number(s.Applied) }),
		term.Col("CHAIN", func(s wire.LogSnapshot) string { return shortHash(s.Chain) }),
		term.Col("TAKEN", func(s wire.LogSnapshot) string { return term.Stamp(s.Micros) }),
		term.Col("BYTES", func(s wire.LogSnapshot) string { return term.Count(s.Bytes) }),
		term.Col("SOUND", func(s wire.LogSnapshot) string {
			if s.Aside {
				return "set aside"
			}
			return term.YesNo(s.OK)
		}),
		term.Col("DETAIL", func(s wire.LogSnapshot) string { return term.OneLine(s.Detail) }))
	if err != nil {
		return err
	}
	for _, s := range all {
		if !s.OK && !s.Aside {
			return exit.With(exit.Corrupt, "snapshot %s is damaged: %s", s.ID, s.Detail)
		}
	}
	return nil
}

func newSnapshotShowCommand(a app) *cobra.Command {
	var list string
	cmd := &cobra.Command{
		Use: "show [SNAPSHOT]", Short: "Say what is in a snapshot: the newest sound one, unless one is named",
		Args: cli.Takes(0, 1),
		Long: "Say what is in a snapshot of a node: up to which entry, with which chain, who has a vote, and how many " +
			"extents, operations and sessions it has. --list lists what there is of one sort, as log replay does.",
		Example: "  datanode log snapshot show\n  datanode log snapshot show --dir /srv/n1 --list extents",
	}
	source := snapshotSource(cmd)
	listFlag(cmd, &list)
	cmd.PreRunE = func(*cobra.Command, []string) error { return checkList(list) }
	cmd.RunE = source.with(a, func(ctx context.Context, s logs.Source, args []string) error {
		snap, err := logs.ReadSnapshot(ctx, s, strings.Join(args, ""))
		if err != nil {
			return err
		}
		if len(args) == 0 {
			if err := noteNewer(ctx, a, s, snap); err != nil {
				return err
			}
		}
		return showSnapshot(a, snap, list)
	})
	return cmd
}

// noteNewer says that there are snapshots after the newest sound one.
func noteNewer(ctx context.Context, a app, s logs.Source, newest *logs.Snapshot) error {
	_, all, err := logs.Snapshots(ctx, s)
	for _, one := range all {
		if !one.OK && one.Index > uint64(newest.SnapshotFile.Index) {
			a.Note("datanode: %s is newer than %s and is damaged; see log snapshot ls", one.ID, newest.Name)
		}
	}
	return err
}

func newSnapshotInspectCommand(a app) *cobra.Command {
	var list string
	cmd := &cobra.Command{
		Use: "inspect FILE", Short: "Verify a snapshot in a file, and say what is in it", Args: cli.Takes(1, 1),
		Long: "Verify a snapshot that log snapshot save has written, or the state.bin of one in a node's folder, and say " +
			"what is in it as log snapshot show does. No node is asked. Exit code 6 says that it is damaged, or no snapshot.",
		Example: "  datanode log snapshot inspect n1.snap\n  datanode log snapshot inspect n1.snap --list nodes",
		PreRunE: func(*cobra.Command, []string) error { return checkList(list) },
		RunE: func(_ *cobra.Command, args []string) error {
			snap, err := logs.OpenSnapshot(args[0])
			if err == nil {
				return showSnapshot(a, snap, list)
			}
			if snap != nil && exit.Code(context.Background(), err) == exit.Corrupt && list == "" {
				c := snap.Contents()
				c.Detail = err.Error()
				if err := term.Show(a.Terminal, c, []term.Field{{"snapshot", term.OneLine(c.Name)},
					{"bytes", term.Count(uint64(c.Bytes))}, {"sound", "no"}}); err != nil {
					return err
				}
			}
			return err
		},
	}
	listFlag(cmd, &list)
	return cmd
}

// snapshotLists are what --list takes.
var snapshotLists = []string{"extents", "nodes", "ops", "settings"}

func listFlag(cmd *cobra.Command, list *string) {
	cmd.Flags().StringVar(list, "list", "", "list these: "+strings.Join(snapshotLists, ", "))
	_ = cmd.RegisterFlagCompletionFunc("list", cobra.FixedCompletions(snapshotLists, cobra.ShellCompDirectiveNoFileComp))
}

func checkList(list string) error {
	if list != "" && !slices.Contains(snapshotLists, list) {
		return exit.Usagef("--list %s: want %s", list, strings.Join(snapshotLists, ", "))
	}
	return nil
}

func showSnapshot(a app, s *logs.Snapshot, list string) error {
	if list == "" {
		c := s.Contents()
		return term.Show(a.Terminal, c, contentFields(c))
	}
	if a.Output == term.FormatTable {
		a.Note("datanode: as of entry %d, %s", s.Past.Index(), term.Stamp(s.Micros()))
	}
	return listPast(a, &s.Past, list)
}

func contentFields(c logs.Contents) []term.Field {
	active := c.Active
	if active == "" {
		active = "the native default"
	}
	fields := []term.Field{
		{"snapshot", term.OneLine(c.Name)}, {"cell", c.Cell}, {"stands for", fmt.Sprintf("entries up to %d", c.Index)},
		{"term", term.Number(c.Term)}, {"state of", fmt.Sprintf("entry %d, %s", c.Applied, term.Stamp(c.Micros))},
		{"chain", c.Chain}, {"voters", strings.Join(c.Voters, ", ")}, {"without a vote", strings.Join(c.Others, ", ")},
		{"nodes", byState(c.Nodes)}, {"extents", byState(c.Extents)}, {"replicas", term.Count(c.Replicas)},
		{"files to drop", term.Number(c.Drops)}, {"operations", byState(c.Ops)}, {"sessions", term.Count(c.Sessions)},
		{"active policy", active}, {"level", term.Count(int(c.Level))},
		{"bytes", term.Count(uint64(c.Bytes))}, {"records", term.Count(c.Records)}, {"sha256", c.SHA256},
		{"sound", term.YesNo(c.OK)},
	}
	if c.Index == 0 {
		fields[2] = term.Field{"stands for", "unknown: it was written by a build that did not note it"}
	}
	for _, p := range c.Policies {
		fields = append(fields, term.Field{"policy", term.OneLine(p)})
	}
	for _, key := range slices.Sorted(maps.Keys(c.Settings)) {
		fields = append(fields, term.Field{"setting", term.OneLine(key + " " + c.Settings[key])})
	}
	return fields
}

// byState says how many there are in all, and in each state.
func byState(counts map[string]int) string {
	sum := 0
	var parts []string
	for _, state := range slices.Sorted(maps.Keys(counts)) {
		sum += counts[state]
		parts = append(parts, fmt.Sprintf("%d %s", counts[state], state))
	}
	if sum == 0 {
		return "0"
	}
	return fmt.Sprintf("%d: %s", sum, strings.Join(parts, ", "))
}

func newSnapshotDiffCommand(a app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "diff SNAPSHOT|FILE SNAPSHOT|FILE", Short: "Tell in words what two snapshots have different",
		Args: cli.Takes(2, 2),
		Long: `Tell what is different in the second of two snapshots, in the words of log replay --diff. What looks like
12-8192-1796052001234 is the ID of one of a node's snapshots; all else is a file that log snapshot save has written.
Exit code 6 says that one is damaged, or that they are of different histories of one cell.`,
		Example: "  datanode log snapshot diff 2-8192-1796052001234 3-16384-1796059301778\n" +
			"  datanode log snapshot diff monday.snap tuesday.snap",
	}
	source := snapshotSource(cmd)
	report := func(ctx context.Context, s logs.Source, args []string) error {
		var two [2]*logs.Snapshot
		for i, word := range args {
			var err error
			if logs.IsSnapshotID(word) {
				two[i], err = logs.ReadSnapshot(ctx, s, word)
			} else {
				two[i], err = logs.OpenSnapshot(word)
			}
			if err != nil {
				return err
			}
		}
		return reportSnapshotDiff(a, two[0], two[1])
	}
	asking := source.with(a, report)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if slices.ContainsFunc(args, logs.IsSnapshotID) {
			return asking(cmd, args)
		}
		if source.node != "" || source.dir != "" {
			return exit.Usagef("--node and --dir say whose snapshots are meant, and both are files")
		}
		return report(cmd.Context(), nil, args)
	}
	return cmd
}

func reportSnapshotDiff(a app, from, to *logs.Snapshot) error {
	changed, differs := logs.DiffSnapshots(from, to)
	if changed == nil && differs != nil {
		return differs
	}
	if a.Output == term.FormatTable {
		a.Note("datanode: from the state after entry %d to that after entry %d", from.Past.Index(), to.Past.Index())
	}
	if err := listChanges(a, changed); err != nil {
		return err
	}
	return differs
}

func newSnapshotSaveCommand(a app) *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use: "save FILE", Short: "Save a snapshot of a node to a file: the newest sound one, unless one is named",
		Args: cli.Takes(1, 1),
		Long: `Save a snapshot to a new file, as the node has it, and verify it there. A file that is there already is not
replaced, and one that cannot be finished is removed. log snapshot inspect reads the file; docs/snapshot-format.md has
the format. It has the names of who asked for what: only its owner may read it.`,
		Example: "  datanode log snapshot save n1.snap --node n1\n" +
			"  datanode log snapshot save old.snap --dir /srv/n1 --snapshot 2-8192-1796052001234",
	}
	source := snapshotSource(cmd)
	cmd.Flags().StringVar(&id, "snapshot", "", "this one, by ID (default: the newest that is sound)")
	cmd.RunE = source.with(a, func(ctx context.Context, s logs.Source, args []string) error {
		if args[0] == "" || args[0] == "-" {
			return exit.Usagef("log snapshot save writes a file that it can read again; name one")
		}
		if info, err := os.Stat(args[0]); err == nil && info.IsDir() {
			return exit.Usagef("%s is a folder; name a new file in it", args[0])
		}
		saved, err := logs.SaveSnapshot(ctx, s, id, args[0])
		if err != nil {
			return err
		}
		if id == "" {
			if err := noteNewer(ctx, a, s, saved); err != nil {
				return err
			}
		}
		c := saved.Contents()
		return term.Show(a.Terminal, c, []term.Field{{"file", term.OneLine(args[0])}, {"snapshot", c.Name},
			{"state of", fmt.Sprintf("entry %d, %s", c.Applied, term.Stamp(c.Micros))}, {"bytes", term.Count(uint64(c.Bytes))},
			{"sha256", c.SHA256}})
	})
	return cmd
}

func newSnapshotTakeCommand(a app) *cobra.Command {
	var node string
	cmd := &cobra.Command{
		Use: "take", Short: "Have a node take a snapshot now, and list those it has", Args: cli.Takes(0, 0),
		Long: "Have a node take a snapshot now, as it does by itself after some thousand entries, and list those it has " +
			"then: two at most. Where there is nothing new to put in one, none is taken.",
		Example: "  datanode log snapshot take --node n2",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, _ []string) error {
			reply, err := c.LogSnapshots(ctx, node, true)
			if err != nil {
				return err
			}
			return listSnapshots(a, reply.Snapshots)
		}),
	}
	cmd.Flags().StringVar(&node, "node", "", "this node (default: the one that answers)")
	return cmd
}
