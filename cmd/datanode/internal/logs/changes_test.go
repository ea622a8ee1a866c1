package logs

import (
	"slices"
	"testing"

	"github.com/datanode/datanode/raftlog/state/statetest"
)

// What was changed is told in words, once, and what was changed back is not.
func TestDifference(t *testing.T) {
	cell := statetest.New()
	cell.RunAll("join n1 n2 n3\ncreate on=n1,n2,n3")
	before := cell.State.Snapshot()
	cell.RunAll("down n2\nup n2")
	if got := difference(before, cell.State.Snapshot()); len(got) != 0 {
		t.Errorf("changed and changed back: %v", got)
	}
	cell.RunAll("set max-running 7\ndown n3")
	var words []string
	for _, c := range difference(before, cell.State.Snapshot()) {
		words = append(words, c.What+": "+c.String())
	}
	want := []string{"node: " + before.Node("n3").String() + " -> " + cell.State.Node("n3").String(),
		"setting: max-running 256 -> max-running 7"}
	if !slices.Equal(words, want) {
		t.Errorf("told %q, want %q", words, want)
	}
}
