package node

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// dearHost makes policies that take work for every batch, and as much to be tried out.
type dearHost struct{}

const dearCost = 1 << 20

func (dearHost) Compile(
	ctx context.Context, module []byte, config map[string]string, b policies.Budget,
) (policies.Policy, error) {
	if b.Batch < dearCost {
		return nil, wire.Errorf(wire.OpPolicyLoad, wire.CodeEnvelope, "it takes %d units (policy-batch-budget)", dearCost)
	}
	p, err := flatHost{}.Compile(ctx, module, config, b)
	return &dearPolicy{p, state.MostBudget()}, err
}

type dearPolicy struct {
	policies.Policy
	budget policies.Budget
}

func (p *dearPolicy) Within(b policies.Budget) policies.Policy { return &dearPolicy{p.Policy, b} }

func (p *dearPolicy) Score(ctx context.Context, facts []policies.Facts, out []policies.Score) (uint64, error) {
	if allowed := p.budget.Of(len(facts)); allowed < dearCost {
		return 0, fmt.Errorf("policy %s: its budget of %d units is spent (policy-batch-budget)", p.Info().Name, allowed)
	}
	if _, err := p.Policy.Score(ctx, facts, out); err != nil {
		return 0, err
	}
	return dearCost, nil
}

// The budget is a setting: a policy that needs more is overruled by the native default, which the decision
// says, and decides again when it is allowed more, also about what is queued. All nodes follow the setting, those
// that start after it was changed too.
func TestBudgetIsASetting(t *testing.T) {
	t.Parallel()
	c := newCellWith(t, 3, 0, func(cfg *Config) { cfg.Policies, cfg.DefaultModule = dearHost{}, []byte("dear") })
	ctx := testContext(t)
	set := func(value string) {
		t.Helper()
		if err := c.client.SetSetting(ctx, "policy-batch-budget", value); err != nil {
			t.Fatal(err)
		}
	}
	p, err := c.client.PolicyLoadWith(ctx, []byte("dear"), map[string]string{"priority": "5"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.client.PolicyActivate(ctx, p.Digest); err != nil {
		t.Fatal(err)
	}
	decides := func(batch uint64) {
		t.Helper()
		d := c.decisionOfCreate()
		if d.Policy != p.Digest || d.Priority != 5 || d.Fallback != "" || d.Cost != dearCost || d.Budget != batch+32<<10 {
			t.Errorf("decided by %s, priority %d, %d units of %d, fallback %q; want %s, 5 and %d units of %d",
				d.Policy, d.Priority, d.Cost, d.Budget, d.Fallback, p.Digest, dearCost, batch+32<<10)
		}
	}
	fallsBack := func() {
		t.Helper()
		d := c.decisionOfCreate()
		if d.Policy != policies.Native().Info().Digest || d.Budget != 96<<10 ||
			d.Fallback != "policy flat failed: its budget of 98304 units is spent (policy-batch-budget)" {
			t.Errorf("decided by %s within %d units, fallback %q; want the native default, because 98304 units are spent",
				d.Policy, d.Budget, d.Fallback)
		}
	}
	decides(32 << 20)
	set("64Ki")
	fallsBack()

	// Another node leads, and the first has started under the small budget.
	lost := c.leader()
	c.kill(lost)
	c.leader()
	fallsBack()
	c.start(lost)
	c.ready(lost)
	c.untilTrue(lost+" has compiled what the log names", func() bool { return c.nodes[lost].knows(p.Digest) })
	_, err = c.client.PolicyLoadWith(ctx, []byte("dear"), map[string]string{"priority": "6"})
	if oneLine(t, err, "policy-batch-budget"); wire.CodeOf(err) != wire.CodeEnvelope {
		t.Errorf("%v, want it refused: it takes more than it is allowed", err)
	}

	set("64Mi")
	decides(64 << 20)
	if _, err := c.client.PolicyLoadWith(ctx, []byte("dear"), map[string]string{"priority": "6"}); err != nil {
		t.Error(err)
	}
}

// A setting that would stop a node, or is none, is refused, and changes nothing.
func TestBudgetBounds(t *testing.T) {
	t.Parallel()
	c := newCell(t, 1, 0)
	for _, value := range []string{"1Gi", "0", "much"} {
		err := c.client.SetSetting(testContext(t), "policy-batch-budget", value)
		if oneLine(t, err, "from 1Ki (1024) to 128Mi"); wire.CodeOf(err) != wire.CodeInvalid {
			t.Errorf("%s: %v, want code %s", value, err, wire.CodeInvalid)
		}
	}
	all, err := c.client.Settings(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Key == "policy-batch-budget" && s.Value == "32Mi" && strings.Contains(s.Help, "units") {
			return
		}
	}
	t.Errorf("%+v does not have policy-batch-budget 32Mi", all)
}
