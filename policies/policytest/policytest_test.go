package policytest_test

import (
	"testing"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/policies/policytest"
)

func TestNative(t *testing.T) { policytest.Run(t, policies.Native()) }

func TestGeneratorRepeats(t *testing.T) {
	a, b := policytest.NewGenerator(7), policytest.NewGenerator(7)
	for range 1000 {
		if a.Pair() != b.Pair() {
			t.Fatal("the same seed made other pairs")
		}
	}
}

func TestGeneratorReachesEveryPair(t *testing.T) {
	g := policytest.NewGenerator(1)
	seen := map[[2]policies.Kind]int{}
	for range 20_000 {
		p := g.Pair()
		seen[[2]policies.Kind{p.Existing.Kind, p.Incoming.Kind}]++
	}
	for a := policies.KindCreate; a <= policies.KindRecommission; a++ {
		for b := policies.KindCreate; b <= policies.KindRecommission; b++ {
			if seen[[2]policies.Kind{a, b}] < 100 {
				t.Errorf("%v and %v: %d pairs of 20000", a, b, seen[[2]policies.Kind{a, b}])
			}
		}
	}
}
