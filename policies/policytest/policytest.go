// Package policytest holds what every policy must do, compiled in or loaded, as tests; and a
// generator of facts to try it on.
package policytest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/datanode/datanode/policies"
)

const (
	suiteSeed  = 1
	suiteFacts = 1000 // more than any batch that a policy takes at once
	suiteAlone = 64   // of them, asked for one by one
	askers     = 4    // goroutines that ask at the same time
	// agreeBatch is how many facts are compared at once: the batch of the ABI.
	agreeBatch = 256
)

// Run is the conformance suite. A policy that fails it cannot be used: its answers would depend on
// something that is not recorded.
func Run(t *testing.T, p policies.Policy) {
	t.Helper()
	t.Run("info", func(t *testing.T) { checkInfo(t, p.Info()) })
	g := NewGenerator(suiteSeed)
	t.Run("score", func(t *testing.T) {
		checkAnswers(t, fill(suiteFacts, g.Facts), p.Score,
			policies.Score{Priority: -77, Reason: 77}, policies.Score{Priority: 88, Reason: 88},
			func(f policies.Facts, s policies.Score) error { return knownReason(p, s.Reason) })
	})
	t.Run("conflict", func(t *testing.T) {
		checkAnswers(t, fill(suiteFacts, g.Pair), p.Conflict,
			policies.Resolution{Verdict: 77, Reason: 77}, policies.Resolution{Verdict: 88, Reason: 88},
			func(_ policies.Pair, r policies.Resolution) error {
				if r.Verdict < policies.Coexist || r.Verdict > policies.Reject {
					return fmt.Errorf("%v is not a verdict", r.Verdict)
				}
				return knownReason(p, r.Reason)
			})
	})
}

// Agree compares two policies on n facts and n pairs made from seed.
func Agree(t *testing.T, a, b policies.Policy, n int, seed uint64) {
	t.Helper()
	t.Logf("policytest: %d facts and pairs, seed %d", n, seed)
	g := NewGenerator(seed)
	for left := n; left > 0; left -= agreeBatch {
		size := min(left, agreeBatch)
		agree(t, fill(size, g.Facts), a.Score, b.Score)
		agree(t, fill(size, g.Pair), a.Conflict, b.Conflict)
	}
}

func agree[In any, Out comparable](t *testing.T, in []In, a, b ask[In, Out]) {
	t.Helper()
	var zero Out
	fromA, fromB := must(t, a, in, zero), must(t, b, in, zero)
	for i := range in {
		if fromA[i] != fromB[i] {
			t.Fatalf("they disagree about %+v:\n first  %+v\n second %+v", in[i], fromA[i], fromB[i])
		}
	}
}

// ask is Score or Conflict.
type ask[In, Out any] func(ctx context.Context, in []In, out []Out) (uint64, error)

func must[In, Out any](t *testing.T, ask ask[In, Out], in []In, before Out) []Out {
	t.Helper()
	out := slices.Repeat([]Out{before}, len(in))
	if _, err := ask(context.Background(), in, out); err != nil {
		t.Fatalf("%d elements: %v", len(in), err)
	}
	return out
}

func checkInfo(t *testing.T, info policies.Info) {
	if info.Name == "" || info.Version == "" || info.Digest == "" {
		t.Errorf("name %q, version %q, digest %q: none may be empty", info.Name, info.Version, info.Digest)
	}
	if len(info.Reasons) == 0 || info.Reasons[0] != "unspecified" {
		t.Errorf("reasons %q: the first must be %q", info.Reasons, "unspecified")
	}
	for i, text := range info.Reasons {
		if at := slices.Index(info.Reasons, text); at != i || text == "" {
			t.Errorf("reason %d is %q, and so is %d", i, text, at)
		}
	}
}

func knownReason(p policies.Policy, n uint16) error {
	if reasons := p.Info().Reasons; int(n) >= len(reasons) {
		return fmt.Errorf("reason %d, but only %d are listed", n, len(reasons))
	}
	return nil
}

// checkAnswers asks the same in every way there is. before1 and before2 stand in the answers at
// first; one that is still there has not been answered.
func checkAnswers[In, Out comparable](t *testing.T, in []In, ask ask[In, Out], before1, before2 Out,
	valid func(In, Out) error) {
	asked := slices.Clone(in)
	want := must(t, ask, asked, before1)
	if !slices.Equal(asked, in) {
		t.Fatal("the policy changed what it was asked")
	}
	for i := range in {
		if err := valid(in[i], want[i]); err != nil {
			t.Fatalf("element %d, %+v: %v", i, in[i], err)
		}
	}
	same(t, in, want, must(t, ask, in, before2), "asked once more")
	for i := range min(suiteAlone, len(in)) {
		same(t, in[i:i+1], want[i:i+1], must(t, ask, in[i:i+1], before2), "asked alone")
	}
	must(t, ask, in[:0], before1)
	checkShuffled(t, in, want, ask, before2)
	checkConcurrent(t, in, want, ask, before2)
}

func checkShuffled[In, Out comparable](t *testing.T, in []In, want []Out, ask ask[In, Out], before Out) {
	order := NewGenerator(suiteSeed).rng.Perm(len(in))
	shuffled, wanted := make([]In, len(in)), make([]Out, len(in))
	for to, from := range order {
		shuffled[to], wanted[to] = in[from], want[from]
	}
	same(t, shuffled, wanted, must(t, ask, shuffled, before), "shuffled")
}

func checkConcurrent[In, Out comparable](t *testing.T, in []In, want []Out, ask ask[In, Out], before Out) {
	var wg sync.WaitGroup
	for range askers {
		wg.Go(func() {
			out := slices.Repeat([]Out{before}, len(in))
			if _, err := ask(context.Background(), in, out); err != nil {
				t.Errorf("at the same time: %v", err)
				return
			}
			if !slices.Equal(out, want) {
				t.Error("other answers when asked at the same time")
			}
		})
	}
	wg.Wait()
}

func same[In, Out comparable](t *testing.T, in []In, want, have []Out, how string) {
	t.Helper()
	for i := range want {
		if have[i] != want[i] {
			t.Fatalf("%+v\nwas answered %+v, but %s %+v", in[i], want[i], how, have[i])
		}
	}
}

func fill[T any](n int, next func() T) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = next()
	}
	return out
}
