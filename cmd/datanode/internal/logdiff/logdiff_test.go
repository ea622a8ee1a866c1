package logdiff

import (
	"fmt"
	"slices"
	"testing"

	"github.com/datanode/datanode/wire"
)

// chains are logs by node: a chain hash for each index from 1. Nodes may have lost the first ones.
type chains map[string][]string

func (c chains) ask(first map[string]uint64) Ask {
	return func(node string, index uint64) (wire.LogChainReply, error) {
		hashes := c[node]
		low := max(first[node], 1)
		if index == 0 {
			index = uint64(len(hashes))
		}
		if index < low || index > uint64(len(hashes)) {
			return wire.LogChainReply{}, fmt.Errorf("%s has %d to %d, not %d", node, low, len(hashes), index)
		}
		return wire.LogChainReply{Node: node, Index: index, First: low, Chain: hashes[index-1]}, nil
	}
}

func TestCompareLogsFindsFirstDifference(t *testing.T) {
	const length = 40
	same := make([]string, length)
	for i := range same {
		same[i] = fmt.Sprint("h", i+1)
	}
	for at := 1; at <= length; at++ {
		other := slices.Clone(same)
		for i := at - 1; i < length; i++ {
			other[i] += "x"
		}
		logs := chains{"n1": same, "n2": same[:35], "n3": other}
		lines, err := Compare([]string{"n1", "n2", "n3"}, logs.ask(map[string]uint64{"n2": 7}))
		if err != nil {
			t.Fatal(err)
		}
		if !lines[1].Same || lines[2].Same != (at > 35) || lines[2].Index != 35 {
			t.Fatalf("difference at %d: %+v", at, lines)
		}
		if want := uint64(at); at <= 35 && lines[2].Differs != want {
			t.Fatalf("the logs differ from %d on, found %d", want, lines[2].Differs)
		}
	}
	if _, err := Compare([]string{"n1", "n2"},
		chains{"n1": same, "n2": same[:5]}.ask(map[string]uint64{"n1": 9})); err == nil {
		t.Fatal("two logs without an index in common were compared")
	}
}
