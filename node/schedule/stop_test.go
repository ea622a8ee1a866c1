package schedule_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
)

// stopping says what a stop of nodes would do: "stopping n1 n2 [silent=n3] [from=7] [limit=2]".
func stopping(t *testing.T, cell *statetest.Cell, d *datadriven.TestData) string {
	var nodes []state.NodeID
	for _, a := range d.CmdArgs {
		if len(a.Vals) == 0 {
			nodes = append(nodes, state.NodeID(a.Key))
		}
	}
	from, limit := uint64(0), 20
	d.MaybeScanArgs(t, "from", &from)
	d.MaybeScanArgs(t, "limit", &limit)
	s := schedule.Stopping(&cell.State.View, seen(t, d), nodes, state.ExtentID(from), limit)
	var b strings.Builder
	fmt.Fprintf(&b, "safe %t, votes %d of %d, takers %d\n", s.Safe(), s.Votes, s.Voters, s.Takers)
	for _, why := range s.Why() {
		fmt.Fprintln(&b, "not:", why)
	}
	for _, note := range s.Notes() {
		fmt.Fprintln(&b, "note:", note)
	}
	for _, a := range s.First {
		fmt.Fprintf(&b, "extent %d unreadable=%t: %s\n", a.Extent.ID, a.Unreadable, a.Why)
	}
	if s.Next != 0 {
		fmt.Fprintf(&b, "more from %d on\n", s.Next)
	}
	return b.String()
}

// BenchmarkStopping looks at 100,000 extents, of which all would be unreadable, as often as one call does.
func BenchmarkStopping(b *testing.B) {
	const extents = 100_000
	cell := statetest.New()
	cell.RunAll("join n1 n2 n3 voter")
	for i := 1; i <= extents; i++ {
		cell.Run("create on=n1,n2,n3")
		cell.Run("start create executor=n1")
		cell.Run("finish create done")
		cell.Run(fmt.Sprintf("seal %d", i))
		cell.Run("start seal executor=n1")
		cell.Run("finish seal done confirmed=n1,n2,n3")
	}
	all := []state.NodeID{"n1", "n2", "n3"}
	b.ReportAllocs()
	for b.Loop() {
		if s := schedule.Stopping(&cell.State.View, schedule.Seen{}, all, 0, 20); s.Unreadable != extents {
			b.Fatal(s)
		}
	}
}
