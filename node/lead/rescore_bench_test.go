package lead

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
)

// waitPolicy is the worst there is for the log: every priority rises with every second. Its digest and reason
// are as long as real ones.
type waitPolicy struct{ policies.Policy }

func (waitPolicy) Info() policies.Info {
	return policies.Info{
		Name: "wait", Digest: "sha256:" + strings.Repeat("0", 64),
		Reasons: []string{"it has waited for as long as it has"},
	}
}

func (waitPolicy) Score(_ context.Context, facts []policies.Facts, out []policies.Score) (uint64, error) {
	for i := range facts {
		out[i] = policies.Score{Priority: int32(facts[i].WaitingMicros / 1e6)}
	}
	return 1000, nil
}

// BenchmarkAging is what a batch that is asked about for its age costs the leader while 100 000 operations wait,
// all of them with another priority each time: to find it and ask, and to encode and apply what changes. There
// is at most one batch a second. "look" is to find that nothing is due; the other two are what the leader does
// at every change of the state besides.
func BenchmarkAging(b *testing.B) {
	c := newAgingCell(b, waitPolicy{policies.Native()})
	c.queue(100_000)
	b.Run("look", func(b *testing.B) {
		for b.Loop() {
			if ops := c.ages.due(c.view()); len(ops) > 0 {
				b.Fatal("something is due")
			}
		}
	})
	b.Run("batch", func(b *testing.B) {
		bytes, written := 0, 0
		for b.Loop() {
			c.Now += state.Micros(ageEvery.Microseconds())
			view := c.view()
			ops := c.ages.due(view)
			cmds := c.decider.askAgain(b.Context(), view, ops).changed(ops)
			body, err := raftlog.AppendCommands(nil, cmds)
			if err != nil {
				b.Fatal(err)
			}
			bytes, written = bytes+len(body), written+len(cmds)
			c.Apply(cmds...)
		}
		b.ReportMetric(float64(written)/float64(b.N), "written/batch")
		b.ReportMetric(float64(bytes)/float64(b.N), "log-bytes/batch")
	})
	view := c.view()
	b.Run("outdated", func(b *testing.B) {
		for b.Loop() {
			view.Queued(func(o *state.Op) bool { return !outdated(view, o) })
		}
	})
	b.Run("schedule", func(b *testing.B) {
		for b.Loop() {
			schedule.Next(view, schedule.Moment{Cell: c.Now})
		}
	})
}

// queue admits repairs that wait for a node that could take the copies.
func (c *agingCell) queue(count int) {
	c.run("down n3", "down n4")
	for i := range count {
		c.sealed(i + 1)
		c.run(fmt.Sprint("repair ", i+1))
	}
}
