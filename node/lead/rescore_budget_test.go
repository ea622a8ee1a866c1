package lead

import (
	"context"
	"fmt"
	"testing"

	"github.com/datanode/datanode/node/modules"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

const dearCost = 1 << 20

// dearPolicy takes work for every batch. It gives all the same priority.
type dearPolicy struct {
	policies.Policy
	budget policies.Budget
}

func (p *dearPolicy) Info() policies.Info {
	return policies.Info{Name: "dear", Digest: "dear", Reasons: policies.Native().Info().Reasons}
}

func (p *dearPolicy) Within(b policies.Budget) policies.Policy { return &dearPolicy{p.Policy, b} }

func (p *dearPolicy) Score(_ context.Context, facts []policies.Facts, out []policies.Score) (uint64, error) {
	if allowed := p.budget.Of(len(facts)); allowed < dearCost {
		return 0, fmt.Errorf("policy dear: its budget of %d units is spent", allowed)
	}
	for i := range facts {
		out[i] = policies.Score{Priority: 5}
	}
	return dearCost, nil
}

// What waits is decided again when the budget changes: native priorities do not stay with a policy's.
func TestBudgetRescores(t *testing.T) {
	p := &dearPolicy{policies.Native(), state.MostBudget()}
	c := newAgingCell(t, p)
	ask := func() *modules.Answer {
		view := c.State.Snapshot()
		return c.decider.modules.Ask(t.Context(), view, make([]policies.Facts, 1), nil)
	}
	c.run("create on=n1 want=1")
	op := func() *state.Op {
		id, err := c.Op("create")
		if err != nil {
			t.Fatal(err)
		}
		return c.State.Op(id)
	}
	c.run("set policy-batch-budget 64Ki")
	if a := ask(); a.Fallback == "" || !outdated(&c.State.View, op()) {
		t.Errorf("fallback %q, outdated %t, want both", a.Fallback, outdated(&c.State.View, op()))
	}
	c.run("set replicas 2")
	c.run("rescore create priority=1")
	if outdated(&c.State.View, op()) {
		t.Error("a setting that is no budget makes a decision outdated")
	}
	c.run("set policy-batch-budget 32Mi")
	if a := ask(); a.Fallback != "" || a.Scores[0].Priority != 5 || !outdated(&c.State.View, op()) {
		t.Errorf("%+v, outdated %t", a, outdated(&c.State.View, op()))
	}
}
