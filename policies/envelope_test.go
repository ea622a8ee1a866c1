package policies

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the tables into testdata")

func allKinds() []Kind {
	kinds := []Kind{}
	for k := KindCreate; k <= KindRecommission; k++ {
		kinds = append(kinds, k)
	}
	return kinds
}

// everyPair calls check for all pairs of kinds, and of numbers around them that are no kinds.
func everyPair(check func(existing, incoming Kind, sameNode bool)) {
	for existing := Kind(0); existing <= KindRecommission+1; existing++ {
		for incoming := Kind(0); incoming <= KindRecommission+1; incoming++ {
			check(existing, incoming, false)
			check(existing, incoming, true)
		}
	}
}

// Every cell that can be asked for says why.
func TestEnvelopeSaysWhy(t *testing.T) {
	everyPair(func(existing, incoming Kind, sameNode bool) {
		if safe := Envelope(existing, incoming, sameNode); safe.Reason == "" {
			t.Errorf("%v, %v: no reason", existing, incoming)
		}
	})
}

// envelopeTable is the envelope as it is in testdata/envelope.txt: existing, incoming, the
// fallback, and what else is allowed.
func envelopeTable() string {
	var b strings.Builder
	b.WriteString("# existing incoming: fallback (allowed). Rewrite with: go test ./policies -rewrite\n")
	for _, existing := range allKinds() {
		b.WriteByte('\n')
		for _, incoming := range allKinds() {
			apart, same := Envelope(existing, incoming, false), Envelope(existing, incoming, true)
			fmt.Fprintf(&b, "%-12s %-12s %v (%v)\n", existing, incoming, apart.Fallback, apart.Allowed)
			if same.Allowed != apart.Allowed {
				fmt.Fprintf(&b, "%-12s %-12s %v (%v) when on the same node\n", existing, incoming, same.Fallback, same.Allowed)
			}
		}
	}
	return b.String()
}

func TestEnvelopeTable(t *testing.T) {
	const path = "testdata/envelope.txt"
	have := envelopeTable()
	if *rewrite {
		if err := os.WriteFile(path, []byte(have), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wanted, lines := strings.Split(string(want), "\n"), strings.Split(have, "\n")
	for i := range max(len(wanted), len(lines)) {
		if i >= len(wanted) || i >= len(lines) || wanted[i] != lines[i] {
			t.Fatalf("line %d differs from %s, run with -rewrite and read the diff:\n%s", i+1, path, have)
		}
	}
}

func TestFallbackIsAlwaysAllowed(t *testing.T) {
	everyPair(func(existing, incoming Kind, sameNode bool) {
		safe := Envelope(existing, incoming, sameNode)
		if !safe.Allowed.Has(safe.Fallback) {
			t.Errorf("%v, %v: fallback %v is not among %v", existing, incoming, safe.Fallback, safe.Allowed)
		}
		if !safe.Allowed.Has(Reject) {
			t.Errorf("%v, %v: refusing is not allowed, but always safe", existing, incoming)
		}
	})
}

func TestNothingOvertakesADelete(t *testing.T) {
	everyPair(func(_, incoming Kind, sameNode bool) {
		for v := Verdict(0); v < 10; v++ {
			final, overruled := Judge(KindDelete, incoming, sameNode, v)
			if final != Reject && (final != Merge || incoming != KindDelete) {
				t.Errorf("%v after delete: %v became %v", incoming, v, final)
			}
			if overruled != (final != v) {
				t.Errorf("%v after delete: %v became %v, overruled: %v", incoming, v, final, overruled)
			}
		}
	})
}

func TestOnlyADeleteEndsARepair(t *testing.T) {
	everyPair(func(_, incoming Kind, sameNode bool) {
		safe := Envelope(KindRepair, incoming, sameNode)
		if safe.Allowed.Has(Supersede) != (incoming == KindDelete) {
			t.Errorf("%v: %v", incoming, safe.Allowed)
		}
	})
}

// No two operations that change or copy the same extent may go on side by side.
func TestNothingCoexists(t *testing.T) {
	everyPair(func(existing, incoming Kind, sameNode bool) {
		if Envelope(existing, incoming, sameNode).Allowed.Has(Coexist) {
			t.Errorf("%v and %v may coexist", existing, incoming)
		}
	})
}

func TestJudgeTakesNumbersThatAreNoVerdicts(t *testing.T) {
	for _, v := range []Verdict{0, 6, 7, 8, 9, 64, 255} {
		if final, overruled := Judge(KindRepair, KindRepair, false, v); final != Merge || !overruled {
			t.Errorf("%v became %v, overruled: %v", v, final, overruled)
		}
	}
}

func TestNativeStaysInside(t *testing.T) {
	everyPair(func(existing, incoming Kind, sameNode bool) {
		for phase := PhaseIncoming; phase <= PhaseRunning; phase++ {
			for live := uint8(0); live < 5; live++ {
				p := Pair{Facts{Kind: existing, Phase: phase}, Facts{Kind: incoming, LiveReplicas: live}, sameNode}
				out := make([]Resolution, 1)
				if _, err := Native().Conflict(context.Background(), []Pair{p}, out); err != nil {
					t.Fatal(err)
				}
				if !Envelope(existing, incoming, sameNode).Allowed.Has(out[0].Verdict) {
					t.Errorf("%v, %v: native answers %v, allowed are %v", existing, incoming, out[0].Verdict,
						Envelope(existing, incoming, sameNode).Allowed)
				}
			}
		}
	})
}
