package plugins

import (
	"errors"
	"strings"
	"testing"

	"github.com/datanode/datanode/policies"
)

// A module is held to the budget of each call, whatever that of its host or of the call before.
func TestWithin(t *testing.T) {
	m := compile(t, newHost(t, Options{}), Default())
	score := func(p policies.Policy, n int) (uint64, error) {
		return p.Score(t.Context(), make([]policies.Facts, n), make([]policies.Score, n))
	}
	resolve := func(p policies.Policy, n int) (uint64, error) {
		return p.Conflict(t.Context(), make([]policies.Pair, n), make([]policies.Resolution, n))
	}
	for name, ask := range map[string]func(policies.Policy, int) (uint64, error){"score": score, "conflict": resolve} {
		one, err := ask(m, 1)
		if err != nil {
			t.Fatal(err)
		}
		if have, err := ask(m.Within(policies.Budget{Batch: one - 1, Record: 1}), 1); err != nil || have != one {
			t.Errorf("%s within exactly its cost: %d, %v; want %d", name, have, err, one)
		}
		_, err = ask(m.Within(policies.Budget{Batch: one - 1, Record: 1}), 2)
		wantCause(t, err, Overrun, SettingBatch+", "+SettingRecord)
		if have, err := ask(m, 1); err != nil || have != one {
			t.Errorf("%s by the host's budget again: %d, %v; want %d", name, have, err, one)
		}
	}
	if have := m.Within(policies.Budget{}).Info().Digest; have != m.Info().Digest {
		t.Errorf("digest %s, want that of the module, %s", have, m.Info().Digest)
	}
}

// What a policy may do does not depend on the budget under which an instance of it was started: one that
// took too much is not asked, and another cannot be started.
func TestStartBudget(t *testing.T) {
	m := compile(t, newHost(t, Options{}), Default())
	facts, out := make([]policies.Facts, 1), make([]policies.Score, 1)
	most := m.report.StartMost
	if most == 0 || len(m.idle) == 0 {
		t.Fatalf("starting it took %d units, and %d instances wait", most, len(m.idle))
	}
	for range 2 {
		_, err := m.Within(policies.Budget{Start: most - 1}).Score(t.Context(), facts, out)
		wantCause(t, err, Overrun, SettingStart)
	}
	for _, p := range []policies.Policy{m.Within(policies.Budget{Start: most}), m} {
		if _, err := p.Score(t.Context(), facts, out); err != nil {
			t.Error(err)
		}
	}
	if have := len(m.slots); have != 0 {
		t.Errorf("%d slots are taken, want none", have)
	}
}

// Fits goes by what was measured, also where that comes from the cache.
func TestFits(t *testing.T) {
	o := Options{CacheDir: t.TempDir()}
	for range 2 {
		m := compile(t, newHost(t, o), Default())
		r := m.report
		batch := r.Scores.BatchCost * uint64(r.Scores.Samples)
		for _, c := range []struct {
			budget policies.Budget
			words  string
		}{
			{policies.Budget{}, ""},
			{policies.Budget{Start: r.StartMost}, ""},
			{policies.Budget{Start: r.StartMost - 1}, SettingStart},
			{policies.Budget{Batch: batch, Record: r.Conflicts.CostMax}, ""},
			{policies.Budget{Batch: batch - 100, Record: 1}, "72 records"},
			{policies.Budget{Batch: r.Scores.CostMax - 2, Record: 1}, SettingRecord},
			{policies.Budget{Batch: 1, Record: r.Scores.CostMax - 2}, "one record"},
		} {
			err := m.Fits(c.budget)
			if c.words == "" {
				if err != nil {
					t.Errorf("%+v: %v", c.budget, err)
				}
				continue
			}
			var refused *LoadError
			if !errors.As(err, &refused) || refused.Reason != TooSlow || !strings.Contains(refused.Detail, c.words) {
				t.Errorf("%+v: %v, want %s: ...%s...", c.budget, err, TooSlow, c.words)
			}
		}
	}
}
