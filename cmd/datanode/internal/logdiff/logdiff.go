// Package logdiff compares the logs of nodes by their chain hashes. It asks for these with a function, one call after
// the other, and starts no goroutine.
package logdiff

import (
	"fmt"
	"sort"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/wire"
)

// Line is one node's line of log diff.
type Line struct {
	Node  string `json:"node"`
	Index uint64 `json:"index"`
	Chain string `json:"chain"`
	Same  bool   `json:"same"`
	// Differs is the first index at which the node's log is not that of the first node.
	Differs uint64 `json:"differs_at,omitempty"`
}

// Ask is a node's chain hash at an index, 0 for where it stands.
type Ask func(node string, index uint64) (wire.LogChainReply, error)

// Compare compares every node's log with the first one's, at the last index that all have.
func Compare(ids []string, ask Ask) ([]Line, error) {
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
	lines := make([]Line, len(ids))
	for i, id := range ids {
		if first[i] > last {
			return nil, exit.With(exit.Failed,
				"%s can only say from index %d on, but another node is at %d; try again when that has caught up", id, first[i],
				last)
		}
		at, err := ask(id, last)
		if err != nil {
			return nil, err
		}
		lines[i] = Line{Node: id, Index: last, Chain: at.Chain, Same: i == 0 || at.Chain == lines[0].Chain}
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
func firstDifference(a, b string, low, high uint64, ask Ask) (uint64, error) {
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
