package main

import (
	"context"
	"fmt"
	"slices"
	"sort"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

// compared is one node's line of log diff.
type compared struct {
	Node  string `json:"node"`
	Index uint64 `json:"index"`
	Chain string `json:"chain"`
	Same  bool   `json:"same"`
	// Differs is the first index at which the node's log is not that of the first node.
	Differs uint64 `json:"differs_at,omitempty"`
}

func newLogDiffCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "diff", Short: "Compare the logs of all nodes that are up", Args: takes(0, 0),
		Long: "Compare the logs of all nodes that are up, by their chain hash at the last index that all of them have. Exit code 6 says that they differ, and names the first index where they do. " +
			"A node that has stopped because its history is another one is in the list as it was last heard of.",
		RunE: a.withClient(func(ctx context.Context, c *client.Client, _ []string) error {
			ids, err := nodesToAsk(ctx, a, c, nil)
			if err != nil {
				return err
			}
			ask := func(node string, index uint64) (wire.LogChainReply, error) { return c.LogChain(ctx, node, index) }
			lines, err := compareLogs(ids, ask)
			if err != nil {
				return err
			}
			s, err := c.Status(ctx)
			if err != nil {
				return err
			}
			return reportDiff(a, append(lines, stopped(s.Parted, lines)...))
		}),
	}
}

// stopped are the nodes whose history was another one and which are not among those that were asked.
func stopped(all []wire.Parted, asked []compared) (lines []compared) {
	for _, p := range all {
		if !slices.ContainsFunc(asked, func(c compared) bool { return c.Node == p.Node }) {
			lines = append(lines, compared{Node: p.Node, Index: p.Index, Chain: p.Theirs, Differs: p.Index})
		}
	}
	return lines
}

func reportDiff(a *app, lines []compared) error {
	err := list(a, items(lines),
		column[compared]{"NODE", func(l compared) string { return l.Node }},
		column[compared]{"INDEX", func(l compared) string { return count(l.Index) }},
		column[compared]{"CHAIN", func(l compared) string { return shortHash(l.Chain) }},
		column[compared]{"SAME", func(l compared) string { return yesNo(l.Same) }},
		column[compared]{"DIFFERS-AT", func(l compared) string { return number(l.Differs) }})
	if err != nil {
		return err
	}
	for _, l := range lines {
		if !l.Same {
			return withCode(exitCorrupt, "the logs of %s and %s differ from index %d on; compare: datanode log show %d --node %s",
				lines[0].Node, l.Node, l.Differs, l.Differs, l.Node)
		}
	}
	return nil
}

// askChain is a node's chain hash at an index, 0 for where it stands.
type askChain func(node string, index uint64) (wire.LogChainReply, error)

// compareLogs holds every node's log against the first one's, at the last index that all have.
func compareLogs(ids []string, ask askChain) ([]compared, error) {
	first, last := make([]uint64, len(ids)), uint64(0)
	for i, id := range ids {
		now, err := ask(id, 0)
		if err != nil {
			return nil, err
		}
		first[i] = now.First
		if i == 0 || now.Index < last {
			last = now.Index
		}
	}
	lines := make([]compared, len(ids))
	for i, id := range ids {
		if first[i] > last {
			return nil, withCode(exitFailed, "%s can only say from index %d on, but another node is at %d; try again when that has caught up", id, first[i], last)
		}
		at, err := ask(id, last)
		if err != nil {
			return nil, err
		}
		lines[i] = compared{Node: id, Index: last, Chain: at.Chain, Same: i == 0 || at.Chain == lines[0].Chain}
		if lines[i].Same {
			continue
		}
		if lines[i].Differs, err = firstDifference(ids[0], id, max(first[0], first[i]), last, ask); err != nil {
			return nil, err
		}
	}
	return lines, nil
}

// firstDifference is the lowest index from low to high at which the chains of two nodes differ; they
// do at high. A chain that differs once differs for ever, so halving finds it.
func firstDifference(a, b string, low, high uint64, ask askChain) (uint64, error) {
	if low > high {
		return 0, fmt.Errorf("%s and %s have no index in common", a, b)
	}
	var failed error
	steps := sort.Search(int(high-low), func(i int) bool {
		if failed != nil {
			return true
		}
		at := low + uint64(i)
		atA, err := ask(a, at)
		if err != nil {
			failed = err
			return true
		}
		atB, err := ask(b, at)
		if err != nil {
			failed = err
			return true
		}
		return atA.Chain != atB.Chain
	})
	return low + uint64(steps), failed
}
