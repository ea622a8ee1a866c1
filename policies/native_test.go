package policies

import (
	"context"
	"math"
	"testing"
)

func scoreOf(t *testing.T, f Facts) Score {
	t.Helper()
	out := make([]Score, 1)
	if _, err := Native().Score(context.Background(), []Facts{f}, out); err != nil {
		t.Fatal(err)
	}
	return out[0]
}

// A band is never left, however old an operation is and however often it failed.
func TestBandsDoNotCross(t *testing.T) {
	order := []Facts{
		{Kind: KindRepair, LiveReplicas: 1, WantReplicas: 3},
		{Kind: KindCreate},
		{Kind: KindSeal},
		{Kind: KindDelete, Origin: OriginUser},
		{Kind: KindDecommission},
		{Kind: KindRepair, LiveReplicas: 2, WantReplicas: 3},
		{Kind: KindRepair, LiveReplicas: 3, WantReplicas: 4},
		{Kind: KindRepair, LiveReplicas: 4, WantReplicas: 5},
		{Kind: KindDelete, Origin: OriginCell},
		{Kind: KindPunch},
		{Kind: KindMove, Origin: OriginDecommission},
		{Kind: KindMove},
		{Kind: KindRepair, LiveReplicas: 0, WantReplicas: 3},
		{Kind: 200},
	}
	for i, higher := range order[:len(order)-1] {
		lower := order[i+1]
		higher.Attempts = math.MaxUint8
		lower.WaitingMicros = math.MaxInt64
		if a, b := scoreOf(t, higher), scoreOf(t, lower); a.Priority <= b.Priority {
			t.Errorf("%v at its lowest has %d, %v at its highest %d", higher.Kind, a.Priority, lower.Kind, b.Priority)
		}
	}
}

func TestAgeAndAttempts(t *testing.T) {
	base := scoreOf(t, Facts{Kind: KindSeal}).Priority
	for _, c := range []struct {
		waiting  int64
		attempts uint8
		want     int32
	}{
		{math.MinInt64, 0, 0},
		{9_999_999, 0, 0},
		{10_000_000, 0, 1},
		{3_999_999_999, 0, 399},
		{math.MaxInt64, 0, 400},
		{0, 1, -100},
		{0, 4, -400},
		{0, 255, -400},
	} {
		if have := scoreOf(t, Facts{Kind: KindSeal, WaitingMicros: c.waiting,
			Attempts: c.attempts}).Priority - base; have != c.want {
			t.Errorf("waiting %d, %d attempts: %+d, want %+d", c.waiting, c.attempts, have, c.want)
		}
	}
}

func TestKindWordsParse(t *testing.T) {
	for _, k := range allKinds() {
		if have, ok := ParseKind(k.String()); !ok || have != k {
			t.Errorf("%v parses as %v, %v", k, have, ok)
		}
	}
	for _, word := range []string{"", "kind(9)", "Delete"} {
		if k, ok := ParseKind(word); ok {
			t.Errorf("%q parses as %v", word, k)
		}
	}
}

func TestReasonsAreNumberedAsNamed(t *testing.T) {
	info := Native().Info()
	if n := len(info.Reasons); n != int(ReasonNoRule)+1 {
		t.Fatalf("%d reasons, want %d", n, ReasonNoRule+1)
	}
	if have := info.Reason(ReasonAskedTwice); have != "asked for twice" {
		t.Errorf("reason %d is %q", ReasonAskedTwice, have)
	}
	if have := info.Reason(9999); have != "reason 9999" {
		t.Errorf("an unknown reason reads %q", have)
	}
}
