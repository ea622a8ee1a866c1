package schedule_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
)

// TestBalanceEnds carries out plans on random cells until there is nothing to plan. That comes soon, since with each
// move the node that it leaves is still no emptier than the one that it goes to.
func TestBalanceEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newUneven(t)
		for range 100 {
			plan := schedule.BalanceOf(&b.cell.State.View, 8)
			if len(plan.Moves) == 0 {
				return
			}
			for _, m := range plan.Moves {
				b.move(t, m)
				if from, to := b.used(m.From)/b.total[m.From], b.used(m.To)/b.total[m.To]; to > from+0.001 {
					t.Fatalf("after %+v %s is full to %.3f and %s to %.3f", m, m.From, from, m.To, to)
				}
			}
			b.say()
		}
		t.Fatal("there is more to plan after 100 rounds")
	})
}

// uneven is a cell whose disks are of several sizes.
type uneven struct {
	cell  *statetest.Cell
	total map[state.NodeID]float64 // bytes
}

func newUneven(t *rapid.T) *uneven {
	b := &uneven{statetest.New(), map[state.NodeID]float64{}}
	b.cell.RunAll("join n1 n2 n3 n4 n5")
	for i := range 5 {
		b.total[state.NodeID(fmt.Sprintf("n%d", i+1))] = float64(rapid.IntRange(50_000, 90_000).Draw(t, "disk"))
	}
	for i := range rapid.IntRange(2, 25).Draw(t, "extents") {
		first := rapid.IntRange(1, 4).Draw(t, "on") // never on n5
		on := fmt.Sprintf("n%d,n%d", first, first%4+1)
		b.cell.RunAll(fmt.Sprintf("create on=%s\nstart create executor=n%d\nfinish create done\nseal %d\n"+
			"start seal executor=n%d\nfinish seal done length=%d confirmed=%s", on, first, i+1, first,
			rapid.IntRange(1, 3000).Draw(t, "bytes"), on))
	}
	b.say()
	return b
}

// say has each node say how full it is.
func (b *uneven) say() {
	for id, total := range b.total {
		b.cell.Run(fmt.Sprintf("room %s free=%.0f total=%.0f", id, total-b.used(id), total))
	}
}

func (b *uneven) used(id state.NodeID) (bytes float64) {
	b.cell.State.ReplicasOn(id, func(e *state.Extent) bool { bytes += float64(e.Length); return true })
	return bytes
}

func (b *uneven) move(t *rapid.T, m schedule.BalanceMove) {
	b.cell.Run(fmt.Sprintf("move %d from=%s to=%s named origin=cell", m.Extent, m.From, m.To))
	for i, res := range apply(b.cell, schedule.Next(&b.cell.State.View, schedule.Moment{})) {
		if res.Err != nil {
			t.Fatalf("start %d: %s", i, res)
		}
	}
	b.cell.RunAll(fmt.Sprintf("finish move done\ngone %d %s", m.Extent, m.From))
	if e := b.cell.State.Extent(m.Extent); len(e.Replicas) != 2 || len(e.Ops) > 0 || len(e.Former) > 0 {
		t.Fatalf("after %+v: %s", m, e)
	}
}
