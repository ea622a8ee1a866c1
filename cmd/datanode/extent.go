package main

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

func newExtentCommand(a app) *cobra.Command {
	return cli.Group("extent", "List, show, make, fill, seal and verify extents", "",
		newExtentListCommand(a), newExtentShowCommand(a), newExtentCreateCommand(a),
		newExtentAppendCommand(a), newExtentSealCommand(a), newExtentVerifyCommand(a))
}

func newExtentListCommand(a app) *cobra.Command {
	var node string
	var lacking bool
	cmd := &cobra.Command{
		Use: "ls", Short: "List extents", Args: cli.Takes(0, 0),
		Long:    "List extents. The bytes of an open one are known when it is sealed.",
		Example: "  datanode extent ls --node n3\n  datanode extent ls --lacking -o jsonl",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, _ []string) error {
			all := c.Extents(ctx, wire.ExtentsRequest{From: 1, Node: node})
			keep := func(e wire.Extent) bool { return !lacking || e.State == "sealed" && e.Live < e.Want }
			return term.List(a.Terminal, only(all, keep),
				extentColumns()...)
		}),
	}
	cmd.Flags().StringVar(&node, "node", "", "only those with a replica on this node")
	cmd.Flags().BoolVar(&lacking, "lacking", false, "only sealed ones with fewer live replicas than they should have")
	return cmd
}

func extentColumns() []term.Column[wire.Extent] {
	return []term.Column[wire.Extent]{
		term.Col("EXTENT", func(e wire.Extent) string { return term.Number(e.ID) }),
		term.Col("STATE", extentState),
		term.Col("BYTES", extentBytes),
		term.Col("LIVE", func(e wire.Extent) string { return fmt.Sprintf("%d/%d", e.Live, e.Want) }),
		term.Col("REPLICAS", replicaList),
		term.Col("CLASS", func(e wire.Extent) string { return e.Class }),
		term.Col("OPS", func(e wire.Extent) string { return strings.Join(e.Ops, ",") }),
	}
}

// extentState is "damaged" for a sealed extent that no replica has all of, and says until when a deleted one is kept.
func extentState(e wire.Extent) string {
	if len(e.Damaged) > 0 {
		return "damaged"
	}
	if e.KeptUntil != 0 {
		return e.State + "(kept-until-" + term.Stamp(e.KeptUntil) + ")"
	}
	return e.State
}

// ranges says where what is lost of an extent lies.
func ranges(lost []wire.Range) string {
	var all []string
	for _, r := range lost {
		all = append(all, fmt.Sprintf("no replica has all of bytes %d to %d", r.From, r.To))
	}
	return strings.Join(all, ", ")
}

// extentBytes is the length of an extent; none while it is open, since only its seal finds it.
func extentBytes(e wire.Extent) string {
	if e.State == "open" {
		return ""
	}
	return term.Count(e.Length)
}

// deletedText says how much of an extent is deleted by locator; nothing of most.
func deletedText(e wire.Extent) string {
	if e.Holes == 0 {
		return ""
	}
	return fmt.Sprintf("%d bytes in %d ranges", e.Punched, e.Holes)
}

// only are the items that keep is true for.
func only[T any](all iter.Seq2[T, error], keep func(T) bool) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for item, err := range all {
			if err == nil && !keep(item) {
				continue
			}
			if !yield(item, err) {
				return
			}
		}
	}
}

// replicaList names nodes; a replica that does not count is marked.
func replicaList(e wire.Extent) string {
	var all []string
	for _, r := range e.Replicas {
		switch {
		case r.State != "whole":
			all = append(all, r.Node+"("+r.State+")")
		case r.NodeState != "up":
			all = append(all, r.Node+"("+r.NodeState+")")
		default:
			all = append(all, r.Node)
		}
	}
	return strings.Join(all, ",")
}

func newExtentShowCommand(a app) *cobra.Command {
	return &cobra.Command{
		Use: "show EXTENT", Short: "Describe an extent", Args: cli.Takes(1, 1),
		Example: "  datanode extent show 12",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			id, err := parseExtent(args[0])
			if err != nil {
				return err
			}
			e, err := c.Extent(ctx, id)
			if err != nil {
				return err
			}
			dates, err := verifiedDates(ctx, c, e)
			if err != nil {
				return err
			}
			return term.Show(a.Terminal, shownExtent{Extent: e, Verified: dates}, []term.Field{
				{"extent", term.Number(e.ID)}, {"state", extentState(e)}, {"damaged", ranges(e.Damaged)}, {"class", e.Class},
				{"bytes", extentBytes(e)}, {"deleted", deletedText(e)}, {"sum", e.Sum},
				{"live", fmt.Sprintf("%d of %d wanted", e.Live, e.Want)}, {"replicas", replicaList(e)},
				{"dropping", strings.Join(e.Dropping, ",")}, {"operations", strings.Join(e.Ops, ",")},
				{"generation", term.Number(e.Gen)}, {"epoch", term.Number(e.Epoch)}, {"created", term.Stamp(e.Created)},
				{"birth", e.Birth},
				{"verified", datesText(dates)},
			})
		}),
	}
}

func newExtentCreateCommand(a app) *cobra.Command {
	var s wire.Submission
	cmd := &cobra.Command{
		Use: "create", Short: "Make an empty open extent; prints its number", Args: cli.Takes(0, 0),
		Example: "  datanode extent create\n  datanode extent create --class logs --want 2",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, _ []string) error {
			s.Kind = "create"
			w := &work{a: a, waiting: true}
			admitted, err := w.submit(ctx, c, []wire.Submission{s})
			if err != nil {
				return err
			}
			ops, err := w.await(ctx, c, admitted, nil)
			if err != nil {
				return err
			}
			if err := cli.OpsError(ops); err != nil {
				return err
			}
			if a.Output == term.FormatTable {
				return a.Print("%d", admitted[0].Extent)
			}
			e, err := c.Extent(ctx, admitted[0].Extent)
			if err != nil {
				return err
			}
			return term.Show(a.Terminal, e, nil)
		}),
	}
	cmd.Flags().StringVar(&s.Class, "class", "", "class tag, such as gold")
	cmd.Flags().Uint8Var(&s.Want, "want", 0, "replicas (default: the cell's setting)")
	cmd.Flags().StringSliceVar(&s.Replicas, "replicas", nil, "nodes to put them on (default: the cell chooses)")
	cmd.Flags().StringVar(&s.Primary, "primary", "", "node to prefer as the primary")
	return cmd
}

func newExtentAppendCommand(a app) *cobra.Command {
	return &cobra.Command{
		Use: "append EXTENT FILE|-", Short: "Append a file to an open extent; prints its locator", Args: cli.Takes(2, 2),
		Example: "  datanode extent append 12 photo.jpg",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			id, err := parseExtent(args[0])
			if err != nil {
				return err
			}
			s, err := a.put(ctx, c, args[1], putOptions{PutOptions: client.PutOptions{Extent: id}})
			if err != nil {
				return err
			}
			if a.Output == term.FormatTable {
				return a.Print("%s", s.Locator)
			}
			return term.Show(a.Terminal, s, nil)
		}),
	}
}

func newExtentSealCommand(a app) *cobra.Command {
	w := &work{a: a, waiting: true}
	cmd := &cobra.Command{
		Use: "seal EXTENT ...", Short: "Give open extents their final length", Args: cli.Takes(1, -1),
		Example: "  datanode extent seal 12 13",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			ids, err := parseExtents(args)
			if err != nil {
				return err
			}
			subs := make([]wire.Submission, len(ids))
			for i, id := range ids {
				subs[i] = wire.Submission{Kind: "seal", Extent: id}
			}
			admitted, err := w.submit(ctx, c, subs)
			return w.finish(ctx, c, admitted, err)
		}),
	}
	w.waitFlags(cmd)
	return cmd
}

func newExtentVerifyCommand(a app) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "verify EXTENT ... | --all", Short: "Read every replica in full and hold it against the log",
		Args: cli.Takes(0, -1),
		Long: "Read every replica of sealed extents in full and hold its length and sum against the log. " +
			"Exit code 6 says that one is damaged or missing; a repair of it has been proposed then. " +
			"Exit code 5 says that none is known to be, but not all could be read: a node is down, unreachable or catching up.",
		Example: "  datanode extent verify 12\n  datanode extent verify --all",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			if all == (len(args) > 0) {
				return exit.Usagef("name extents, or use --all")
			}
			ids, err := parseExtents(args)
			if err != nil {
				return err
			}
			bad, unchecked := 0, 0
			verified := verifyEach(ctx, c, extentIDs(ctx, c, ids, all))
			if err := term.List(a.Terminal, only(verified, func(v wire.Verified) bool {
				switch {
				case v.Unchecked:
					unchecked++
				case !v.OK:
					bad++
				}
				return true
			}), verifiedColumns()...); err != nil {
				return err
			}
			return verdict(bad, unchecked)
		}),
	}
	cmd.Flags().BoolVar(&all, "all", false, "all sealed extents")
	return cmd
}

// verdict is what a verification comes to. Damage is worse than not to know.
func verdict(bad, unchecked int) error {
	switch {
	case bad > 0:
		return exit.With(exit.Corrupt, "replicas that do not hold what the log says: %d; see op ls --open for their repair",
			bad)
	case unchecked > 0:
		return exit.With(exit.Unavailable, "replicas that could not be checked: %d; the others hold what the log says",
			unchecked)
	}
	return nil
}

// verifiedText is yes, no, or that nobody knows.
func verifiedText(v wire.Verified) string {
	if v.Unchecked {
		return "not checked"
	}
	return term.YesNo(v.OK)
}

func verifiedColumns() []term.Column[wire.Verified] {
	return []term.Column[wire.Verified]{
		term.Col("EXTENT", func(v wire.Verified) string { return term.Number(v.Extent) }),
		term.Col("NODE", func(v wire.Verified) string { return v.Node }),
		term.Col("OK", verifiedText),
		term.Col("BYTES", func(v wire.Verified) string { return term.Count(v.Length) }),
		term.Col("SUM", func(v wire.Verified) string { return v.Sum }),
		term.Col("DETAIL", func(v wire.Verified) string { return v.Detail }),
	}
}

// extentIDs are the extents named, or all sealed ones.
func extentIDs(ctx context.Context, c *client.Client, named []uint64, all bool) iter.Seq2[uint64, error] {
	if !all {
		return term.Items(named)
	}
	return func(yield func(uint64, error) bool) {
		for e, err := range c.Extents(ctx, wire.ExtentsRequest{From: 1}) {
			if err == nil && e.State != "sealed" {
				continue
			}
			if !yield(e.ID, err) {
				return
			}
		}
	}
}

func verifyEach(ctx context.Context, c *client.Client, ids iter.Seq2[uint64, error]) iter.Seq2[wire.Verified, error] {
	return func(yield func(wire.Verified, error) bool) {
		for id, err := range ids {
			var found []wire.Verified
			if err == nil {
				found, err = c.Verify(ctx, id)
			}
			if err != nil {
				yield(wire.Verified{}, err)
				return
			}
			for _, v := range found {
				if !yield(v, nil) {
					return
				}
			}
		}
	}
}
