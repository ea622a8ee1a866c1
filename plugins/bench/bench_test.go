package bench

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/policies/policytest"
)

const (
	batch = 256
	seed  = 1
)

func facts(n int) []policies.Facts {
	g := policytest.NewGenerator(seed)
	out := make([]policies.Facts, n)
	for i := range out {
		out[i] = g.Facts()
	}
	return out
}

// TestSameRule compares every engine's answers with the native ones: only the same rule can be compared.
func TestSameRule(t *testing.T) {
	asked := facts(4 * batch)
	want := make([]int32, len(asked))
	for _, e := range engines() {
		got, score := make([]int32, len(asked)), e.make(t)
		for at := 0; at < len(asked); at += batch {
			if err := score(t.Context(), asked[at:at+batch], got[at:at+batch]); err != nil {
				t.Fatalf("%s: %v", e.name, err)
			}
		}
		if e.name == "native" {
			want = got
			continue
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%s: answers %d to %+v, want %d", e.name, got[i], asked[i], want[i])
			}
		}
	}
}

// BenchmarkDecision asks every engine in turns, so that what else the machine does falls on all, and reports the
// median of each for a decision, and how many times the native one's that is.
func BenchmarkDecision(b *testing.B) {
	for _, n := range []int{batch, 1} {
		b.Run(fmt.Sprintf("batch-%d", n), func(b *testing.B) { benchDecision(b, n) })
	}
}

func benchDecision(b *testing.B, n int) {
	asked, out := facts(n), make([]int32, n)
	all := engines()
	scorers, took := make([]scorer, len(all)), make([][]float64, len(all))
	for i, e := range all {
		scorers[i] = e.make(b)
	}
	for b.Loop() {
		for i, score := range scorers {
			repeat := 1
			if i < 3 { // the fast ones would drown in the clock
				repeat = 20
			}
			begin := time.Now()
			for range repeat {
				if err := score(b.Context(), asked, out); err != nil {
					b.Fatal(err)
				}
			}
			took[i] = append(took[i], float64(time.Since(begin).Nanoseconds())/float64(repeat*n))
		}
	}
	b.ReportMetric(0, "ns/op")
	native := median(took[0])
	for i, e := range all {
		b.ReportMetric(median(took[i]), e.name+"-ns")
		b.ReportMetric(median(took[i])/native, e.name+"-times")
	}
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
