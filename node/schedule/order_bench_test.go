package schedule_test

import (
	"fmt"
	"testing"

	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
)

// BenchmarkNextOfMillion is a round over a million operations that limits hold back: those of one caller, who has its
// half of max-running, and one of another that starts; or all by max-running. Then all of them are overdue.
func BenchmarkNextOfMillion(b *testing.B) {
	for _, limit := range []int{4, 2} {
		cell := statetest.New()
		cell.RunAll(fmt.Sprintf("join n1 n2 n3 n4\nset max-running %d", limit))
		cell.RunAll("create on=n1 as=client/eve start\ncreate on=n1 as=client/eve start")
		for done := range 1000 {
			var cmds []state.Command
			for range 1000 {
				cmds = append(cmds, &state.Admit{
					Kind: policies.KindCreate, Replicas: []state.NodeID{"n1"}, Want: 1, AskedBy: "client/eve",
					Decision: state.Decision{Epoch: cell.State.PolicyEpoch, Priority: int32(done % 7)},
				})
			}
			cell.Apply(cmds...)
		}
		cell.Run("create on=n2 as=client/bob")
		for _, age := range []string{"1s", "2h"} {
			cell.Run("clock " + age)
			b.Run(fmt.Sprintf("max-running=%d,age=%s", limit, age), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if n := len(schedule.Next(&cell.State.View, schedule.Moment{Cell: cell.Now}).Starts); n != limit/2-1 {
						b.Fatalf("%d start", n)
					}
				}
			})
		}
	}
}
