package raftlog

import (
	"context"
	"fmt"
	"testing"
)

// BenchmarkPropose is a cell of three on disk, with so many callers at once. entries/proposal shows how
// well they share entries.
func BenchmarkPropose(b *testing.B) {
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			c := newCell(b, 3, nil)
			g := c.leader()
			before := g.AppliedIndex()
			b.SetParallelism(callers)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, _, err := g.Propose(context.Background(), join("n1")); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.StopTimer()
			b.ReportMetric(float64(g.AppliedIndex()-before)/float64(b.N), "entries/proposal")
		})
	}
}

// BenchmarkView is a view after every apply, and when nothing has changed.
func BenchmarkView(b *testing.B) {
	c := newCell(b, 1, nil)
	g := c.leader()
	b.Run("cached", func(b *testing.B) {
		for b.Loop() {
			g.View()
		}
	})
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			g.machine.view.Store(nil)
			g.View()
		}
	})
}
