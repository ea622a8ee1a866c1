package node

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
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
		{countKinds(view), []wire.OpCount{
			{Name: "move", Queued: 2, Running: 1}, {Name: "delete", Queued: 1}, {Name: "decommission", Queued: 1},
		}},
		{countClasses(view), []wire.OpCount{
			{Name: "gold", Queued: 1, Running: 1}, {Name: "", Queued: 1}, {Name: "other", Queued: 1},
		}},
		{countNodes(view), []wire.NodeOpCount{
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
	got := countClasses(cell.State.Snapshot())
	if len(got) != countedClasses+1 || got[0] != (wire.OpCount{Name: "c00", Queued: 2}) ||
		got[countedClasses] != (wire.OpCount{Name: otherClasses, Queued: classes - countedClasses}) {
		t.Errorf("%d classes are counted as %+v", classes, got)
	}
}

// On a real cell the counts are in status, in the list of nodes and in the metrics.
func TestCountsAreShown(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 1)
	made := c.run(wire.Submission{Kind: "create", Class: "gold", Replicas: []string{"n1", "n2"}, Want: 2})
	id := made[0].Extent
	if _, err := c.client.Put(testContext(t), bytes.NewReader(pattern(1, 1000)),
		client.PutOptions{Extent: id, Length: 1000}); err != nil {
		t.Fatal(err)
	}
	c.sealOpen(id)
	c.kill("n4") // a move there stays queued
	c.until("n4 is down", func(n *Node) bool { return n.log.View().Node("n4").State == state.NodeDown })
	move := wire.Submission{Kind: "move", Extent: id, Node: "n1", Target: "n4"}
	if res := c.submit(client.SubmitOptions{Force: true}, move); res.Code != 0 {
		t.Fatal(res.Detail)
	}
	c.until("the move is queued", func(n *Node) bool { return n.log.View().Counts().Queued == 1 })
	s, err := c.client.Status(testContext(t))
	one := []wire.OpCount{{Name: "move", Queued: 1}}
	if err != nil || !slices.Equal(s.ByKind, one) || !slices.Equal(s.ByClass, []wire.OpCount{{Name: "gold", Queued: 1}}) ||
		!slices.Equal(s.ByNode, []wire.NodeOpCount{{Node: "n1", SourceQueued: 1}, {Node: "n4", TargetQueued: 1}}) {
		t.Errorf("status is %+v, %v", s, err)
	}
	nodes, err := c.client.Nodes(testContext(t))
	if err != nil || nodes[0].SourceQueued != 1 || nodes[3].TargetQueued != 1 || nodes[1].SourceQueued != 0 {
		t.Errorf("nodes are %+v, %v", nodes, err)
	}
	r := prometheus.NewRegistry()
	r.MustRegister(newCollector(c.any()))
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := map[string]float64{}
	for _, f := range families {
		if !strings.HasSuffix(f.GetName(), "_operations") {
			continue
		}
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			series[name] = m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"datanode_operations move queued": 1, "datanode_operations move running": 0, "datanode_operations repair queued": 0,
		"datanode_class_operations gold queued": 1, "datanode_node_operations n1 source queued": 1,
		"datanode_node_operations n4 target queued": 1, "datanode_node_operations n2 source queued": 0,
	} {
		if got, ok := series[name]; !ok || got != want {
			t.Errorf("%s is %v, %t, want %v", name, got, ok, want)
		}
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
		countKinds(view)
		countClasses(view)
		countNodes(view)
	}
}
