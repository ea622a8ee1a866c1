package describe

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/datanode/datanode/raftlog/state/statetest"
	"github.com/datanode/datanode/wire"
)

// sealedExtents is a cell of four nodes with so many sealed extents on n1 and n2, each of a class that class names.
func sealedExtents(n int, class func(int) string) *statetest.Cell {
	cell := statetest.New()
	cell.Run("join n1 n2 n3 n4")
	for i := range n {
		text := "create on=n1,n2"
		if c := class(i); c != "" {
			text += " class=" + c
		}
		cell.Run(text)
		cell.Run("start create executor=n1")
		cell.Run("finish create done")
		cell.Run(fmt.Sprintf("seal %d", i+1))
		cell.Run("start seal executor=n1")
		cell.Run("finish seal done confirmed=n1,n2")
	}
	return cell
}

// What is queued and what runs is counted by kind, by class and by node, as it is shown.
func TestCounts(t *testing.T) {
	t.Parallel()
	cell := sealedExtents(4, func(i int) string { return []string{"", "gold", "gold", "other"}[i] })
	for _, line := range []string{
		"move 1 from=n1", "move 2 from=n1 to=n4", "start move source=n2 target=n4 replaces=n1 executor=n4",
		"move 3 from=n2 to=n3", "delete 4", "decommission n3",
	} {
		if got := cell.Run(line); !strings.Contains(got, " ok") {
			t.Fatal(got)
		}
	}
	view := cell.State.Snapshot()
	for _, c := range []struct{ got, want any }{
		{CountKinds(view), []wire.OpCount{
			{Name: "move", Queued: 2, Running: 1}, {Name: "delete", Queued: 1}, {Name: "decommission", Queued: 1},
		}},
		{CountClasses(view), []wire.OpCount{
			{Name: "gold", Queued: 1, Running: 1}, {Name: "", Queued: 1}, {Name: "other", Queued: 1},
		}},
		{CountNodes(view), []wire.NodeOpCount{
			{Node: "n1", SourceQueued: 1}, {Node: "n2", SourceQueued: 1, SourceRunning: 1},
			{Node: "n3", TargetQueued: 1}, {Node: "n4", TargetRunning: 1},
		}},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("counted\n%+v, want\n%+v", c.got, c.want)
		}
	}
}

// However many classes there are, few are counted by name, and none is lost from the sum.
func TestCountsOfManyClasses(t *testing.T) {
	t.Parallel()
	const classes = 3 * countedClasses
	cell := sealedExtents(classes+1, func(i int) string { return fmt.Sprintf("c%02d", i%classes) })
	for i := range classes + 1 {
		cell.Run(fmt.Sprintf("delete %d", i+1))
	}
	got := CountClasses(cell.State.Snapshot())
	if len(got) != countedClasses+1 || got[0] != (wire.OpCount{Name: "c00", Queued: 2}) ||
		got[countedClasses] != (wire.OpCount{Name: otherClasses, Queued: classes - countedClasses}) {
		t.Errorf("%d classes are counted as %+v", classes, got)
	}
}

// BenchmarkCounts is what a status counts, with 100,000 queued operations.
func BenchmarkCounts(b *testing.B) {
	cell := sealedExtents(100_000, func(i int) string { return fmt.Sprintf("c%02d", i%50) })
	for i := range 100_000 {
		cell.Run(fmt.Sprintf("move %d from=n1", i+1))
	}
	view := cell.State.Snapshot()
	if view.Counts().Queued != 100_000 {
		b.Fatal(view.Counts())
	}
	for b.Loop() {
		CountKinds(view)
		CountClasses(view)
		CountNodes(view)
	}
}
