package schedule_test

import (
	"testing"

	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
)

// What is admitted starts in its own entry where a round after that would start it, whatever else waits.
func TestAtOnce(t *testing.T) {
	const joined = "join n1 n2 n3\nset max-running 4\ncreate on=n1 as=client/eve\n"
	for _, c := range []struct {
		name, before string
		older        bool // a node of the cell does not know of it
		creates      int
		priority     int32
		kind         policies.Kind
		asked        bool // a caller asks, and not the cell
		want         int  // how many start
	}{
		{name: "an empty queue", before: "join n1 n2 n3", creates: 3, want: 3},
		{name: "an older node", before: "join n1 n2 n3", older: true, creates: 3, want: 0},
		{name: "one that waits of the same rank, and room for all", before: joined, creates: 2, priority: 10000, want: 2},
		{name: "one that waits of the same rank, and no room for all", before: joined, creates: 4, priority: 10000, want: 0},
		{name: "one that waits and comes later", before: joined, creates: 4, priority: 10001, want: 4},
		{name: "one that is overdue comes before, whatever the policy says", before: joined + "clock 25h", creates: 4,
			priority: 10001, want: 0},
		{name: "one that is overdue, and room for all", before: joined + "clock 2h", creates: 3, priority: 10001, want: 3},
		{name: "half of max-running for one caller", before: joined + "start 3 executor=n1\n", creates: 3, asked: true,
			want: 1},
		{name: "a seal is for a round", before: joined, kind: policies.KindSeal, creates: 1, want: 0},
		{name: "deletes take no place of max-running", before: joined, kind: policies.KindDelete, creates: 9, want: 9},
	} {
		t.Run(c.name, func(t *testing.T) {
			cell := statetest.New()
			t.Log(cell.RunAll(c.before))
			level := state.LevelNow
			if c.older {
				level = state.LevelBegun - 1
			}
			cell.Apply(&state.Join{Node: "n4", Addr: "n4:1", Incarnation: 1, Level: level})
			for _, n := range []state.NodeID{"n1", "n2", "n3"} {
				cell.Apply(&state.Join{Node: n, Addr: "a:1", Incarnation: 2, Level: state.LevelNow})
			}
			admits := make([]*state.Admit, c.creates)
			for i := range admits {
				admits[i] = &state.Admit{Kind: policies.KindCreate, AskedBy: "client/eve"}
				if c.kind != 0 {
					admits[i].Kind = c.kind
				} else if !c.asked {
					admits[i].Origin = policies.OriginCell
				}
				admits[i].Decision.Priority = c.priority
			}
			schedule.AtOnce(&cell.State.View, schedule.Moment{Cell: cell.Now}, admits)
			got := 0
			for _, a := range admits {
				if a.Start {
					got++
				}
			}
			if got != c.want {
				t.Errorf("%d of %d start at once, want %d", got, c.creates, c.want)
			}
		})
	}
}
