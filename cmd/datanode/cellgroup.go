package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

func newCellCommand(a app) *cobra.Command {
	return cli.Group("cell", "How full a cell is, who votes, and balancing its disks", "",
		newCellSpaceCommand(a), newCellVotersCommand(a), newCellBalanceCommand(a))
}

// nodeSpace is how full a node is.
type nodeSpace struct {
	Node     string `json:"node"` // empty: all of them
	State    string `json:"state,omitempty"`
	Total    uint64 `json:"total_bytes"`
	Used     uint64 `json:"used_bytes"` // by whatever, and what the node keeps in reserve
	Free     uint64 `json:"free_bytes"`
	Replicas int    `json:"replicas"`
	Refuses  string `json:"refuses,omitempty"`
}

func newCellSpaceCommand(a app) *cobra.Command {
	return &cobra.Command{
		Use: "df", Short: "Show how full the nodes are, and all of them together", Args: cli.Takes(0, 0),
		Long: `Show how full the disks of each node are, as it last said, and all of them together.

USED is all that is used of a disk, by whatever, and what the node keeps in reserve; FREE is what extents may still
take, every copy of them: what is put with three replicas takes three times its size. datanode disk ls shows the
single disks. Nodes on one machine may share a disk, which counts for each of them.`,
		Example: "  datanode cell df\n  datanode cell df -o json",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, _ []string) error {
			nodes, err := c.Nodes(ctx)
			if err != nil {
				return err
			}
			return term.List(a.Terminal, term.Items(spaceOf(nodes)),
				term.Col("NODE", func(s nodeSpace) string { return cmp.Or(s.Node, "all") }),
				term.Col("STATE", func(s nodeSpace) string { return s.State }),
				term.Col("TOTAL", func(s nodeSpace) string { return spaceCell(s, s.Total) }),
				term.Col("USED", func(s nodeSpace) string { return spaceCell(s, s.Used) }),
				term.Col("FREE", func(s nodeSpace) string { return spaceCell(s, s.Free) }),
				term.Col("USE%", func(s nodeSpace) string { return partCell(s.Used, s.Total) }),
				term.Col("REPLICAS", func(s nodeSpace) string { return term.Count(s.Replicas) }),
				term.Col("REFUSES", func(s nodeSpace) string { return term.OneLine(s.Refuses) }))
		}),
	}
}

func spaceOf(nodes []wire.Node) (rows []nodeSpace) {
	var all nodeSpace
	for _, n := range nodes {
		row := nodeSpace{
			Node: n.ID, State: n.State, Total: n.Total, Free: min(n.Free, n.Total), Replicas: n.Replicas, Refuses: n.Refuses,
		}
		row.Used = row.Total - row.Free
		all.Total, all.Used, all.Free = all.Total+row.Total, all.Used+row.Used, all.Free+row.Free
		all.Replicas += row.Replicas
		rows = append(rows, row)
	}
	return append(rows, all)
}

// spaceCell is a number of bytes, empty where the node has not said how large its disks are.
func spaceCell(s nodeSpace, bytes uint64) string {
	if s.Total == 0 {
		return ""
	}
	return roughly(bytes)
}

func partCell(used, total uint64) string {
	if total == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f%%", float64(used)*100/float64(total))
}

// voterView is a voter, as it answers.
type voterView struct {
	Node    string `json:"node"`
	Addr    string `json:"addr"`
	Leader  bool   `json:"leader"`
	Answers bool   `json:"answers"` // to this call
	Applied uint64 `json:"applied"`
	Lag     uint64 `json:"lag"`         // entries that the asked node has applied and this one has not
	Took    int64  `json:"took_micros"` // until it answered
	Why     string `json:"why,omitempty"`
}

func newCellVotersCommand(a app) *cobra.Command {
	return &cobra.Command{
		Use: "voters", Short: "List who has a vote, whether he answers, and how far he is behind", Args: cli.Takes(0, 0),
		Long: `List the nodes that vote about the log. Each is asked itself: TOOK is how long its answer took, and LAG is how
many entries it has yet to apply of those that the leader had applied, or the first node that answered.

The exit code is 5 when one does not answer.`,
		Example: "  datanode cell voters",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, _ []string) error {
			s, err := a.status(ctx, c, "")
			if err != nil {
				return err
			}
			all := askVoters(ctx, c, s)
			err = term.List(a.Terminal, term.Items(all),
				term.Col("NODE", func(v voterView) string { return v.Node }),
				term.Col("ADDR", func(v voterView) string { return v.Addr }),
				term.Col("ROLE", func(v voterView) string { return nodeRole(wire.Node{Leader: v.Leader, Voter: true}) }),
				term.Col("ANSWERS", func(v voterView) string { return term.YesNo(v.Answers) }),
				term.Col("APPLIED", func(v voterView) string { return answered(v, term.Count(v.Applied)) }),
				term.Col("LAG", func(v voterView) string { return answered(v, fmt.Sprint(v.Lag)) }),
				term.Col("TOOK", func(v voterView) string {
					return answered(v, (time.Duration(v.Took) * time.Microsecond).Round(100*time.Microsecond).String())
				}),
				term.Col("WHY", func(v voterView) string { return term.OneLine(v.Why) }))
			if err == nil && slices.ContainsFunc(all, func(v voterView) bool { return !v.Answers }) {
				return exit.With(exit.Unavailable, "not every voter answers")
			}
			return err
		}),
	}
}

func answered(v voterView, text string) string {
	if !v.Answers {
		return ""
	}
	return text
}

// askVoters asks each voter for its status.
func askVoters(ctx context.Context, c *client.Client, s wire.Status) []voterView {
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	all := make([]voterView, len(s.Voters))
	done := make(chan struct{})
	for i, v := range s.Voters {
		go func() {
			defer func() { done <- struct{}{} }()
			begun := time.Now()
			one, err := c.StatusOf(ctx, v.Addr)
			all[i] = voterView{Node: v.Node, Addr: v.Addr, Leader: v.Node == s.Leader, Answers: err == nil,
				Applied: one.Applied, Took: time.Since(begun).Microseconds()}
			if err != nil {
				all[i].Why = err.Error()
			}
		}()
	}
	for range all {
		<-done
	}
	most := s.Applied
	for _, v := range all {
		if v.Leader && v.Answers {
			most = v.Applied
		}
	}
	for i := range all {
		if all[i].Answers {
			all[i].Lag = most - min(most, all[i].Applied)
		}
	}
	slices.SortFunc(all, func(a, b voterView) int { return cmp.Compare(a.Node, b.Node) })
	return all
}

// namedMoves is how many moves of a plan are asked for.
const namedMoves = 1000

func newCellBalanceCommand(a app) *cobra.Command {
	var dryRun, stop bool
	cmd := &cobra.Command{
		Use: "balance", Short: "Move replicas to emptier nodes, until all are about as full", Args: cli.Takes(0, 0),
		Long: `Move replicas to emptier nodes, so that one that is new or was emptied gets its share, until the nodes are within a
twentieth of their disks of each other. The cell does that by itself, slowly and after everything else: repairs and
decommissions come first, and quiet-windows and copy-pace hold it. See docs/limits.md.

It sets the setting balance to once, and returns at once; the leader sets it off when it is done. --dry-run prints what
would be moved, and changes nothing. --stop plans no more; what is queued still goes. settings set balance on has it
done whenever nodes are far apart.`,
		Example: "  datanode cell balance --dry-run\n  datanode cell balance\n  datanode cell balance --stop",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, _ []string) error {
			switch {
			case dryRun && stop:
				return exit.Usagef("--dry-run and --stop do not go together")
			case stop:
				return a.setBalance(ctx, c, state.BalanceOff)
			}
			plan, err := c.Balance(ctx, namedMoves)
			if err != nil {
				return err
			}
			if dryRun {
				return term.Show(a.Terminal, plan, balanceFields(plan))
			}
			if plan.When == state.BalanceOn.String() {
				a.Note("datanode: the cell does that by itself: the setting balance is on")
				return term.Show(a.Terminal, plan, balanceFields(plan))
			}
			if err := a.setBalance(ctx, c, state.BalanceOnce); err != nil {
				return err
			}
			if len(plan.Moves) == 0 && plan.Waits == "" {
				a.Note("datanode: there is nothing to move")
			} else if plan.Waits != "" {
				a.Note("datanode: %s", plan.Waits)
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print what would be moved")
	cmd.Flags().BoolVar(&stop, "stop", false, "plan no more moves")
	return cmd
}

func (a app) setBalance(ctx context.Context, c *client.Client, when state.BalanceWhen) error {
	if err := c.SetSetting(ctx, state.KeyBalance, when.String()); err != nil {
		return err
	}
	a.Note("datanode: the setting balance is %s", when)
	return nil
}

func balanceFields(plan wire.BalanceReply) []term.Field {
	bytes := uint64(0)
	for _, m := range plan.Moves {
		bytes += m.Bytes
	}
	count := fmt.Sprintf("%d of %s", len(plan.Moves), roughly(bytes))
	if plan.More {
		count += ", and more after these"
	}
	takes := "as fast as disks and clients let it (copy-pace is 0)"
	switch {
	case len(plan.Moves) == 0:
		count, takes = "none", ""
	case plan.Pace > 0:
		takes = fmt.Sprintf("%s at least, at %s/s (copy-pace)",
			(time.Duration(bytes/plan.Pace) * time.Second).String(), roughly(plan.Pace))
	}
	fields := []term.Field{
		{"balance", plan.When}, {"waits", plan.Waits}, {"open", term.Count(plan.Open)}, {"moves", count}, {"takes", takes},
	}
	for _, n := range plan.Nodes {
		fields = append(fields, term.Field{n.Node, fmt.Sprintf("%s of %s (%s), then %s (%s)", roughly(n.Used),
			roughly(n.Total), partCell(n.Used, n.Total), roughly(n.After), partCell(n.After, n.Total))})
	}
	for _, m := range plan.Moves {
		fields = append(fields, term.Field{"move", fmt.Sprintf("extent %d from %s to %s, %s", m.Extent, m.From, m.To,
			roughly(m.Bytes))})
	}
	return fields
}
