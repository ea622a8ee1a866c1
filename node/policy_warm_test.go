package node

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/datanode/datanode/node/modules"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
)

// heavyHost makes policies that hold memory until they are closed.
type heavyHost struct {
	mu   sync.Mutex
	held map[*heavyPolicy]bool // Guarded by mu.
}

type heavyPolicy struct {
	policies.Policy
	host *heavyHost
}

func (h *heavyHost) Compile(
	ctx context.Context, module []byte, config map[string]string, b policies.Budget,
) (policies.Policy, error) {
	flat, err := flatHost{}.Compile(ctx, module, config, b)
	if err != nil {
		return nil, err
	}
	p := &heavyPolicy{flat, h}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held[p] = true
	return p, nil
}

func (h *heavyHost) holds() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.held)
}

// Score fails after Close, as a policy must that is freed.
func (p *heavyPolicy) Score(ctx context.Context, facts []policies.Facts, out []policies.Score) (uint64, error) {
	p.host.mu.Lock()
	held := p.host.held[p]
	p.host.mu.Unlock()
	if !held {
		return 0, wire.Errorf(0, wire.CodeInternal, "it was closed")
	}
	return p.Policy.Score(ctx, facts, out)
}

func (p *heavyPolicy) Close(context.Context) error {
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	delete(p.host.held, p)
	return nil
}

func (p *heavyPolicy) Counters() map[string]int64 { return map[string]int64{"asked": 7} }

// However many policies are loaded, few are in memory, and all can be activated: what then decides is the policy from
// its entry on, and never the native default because the policy had to be compiled again.
func TestFewPoliciesAreInMemory(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var hosts []*heavyHost
	c := newCellWith(t, 3, 0, func(cfg *Config) {
		h := &heavyHost{held: map[*heavyPolicy]bool{}}
		cfg.Policies, cfg.DefaultModule = h, []byte("flat")
		mu.Lock()
		defer mu.Unlock()
		hosts = append(hosts, h)
	})
	ctx := testContext(t)
	var loaded []wire.Policy
	for n := range 9 {
		p, err := c.client.PolicyLoadWith(ctx, []byte("flat"), map[string]string{"priority": strconv.Itoa(n + 1)})
		if err != nil {
			t.Fatal(err)
		}
		loaded = append(loaded, p)
	}
	settled := func(most int) {
		t.Helper()
		c.untilTrue("all nodes know all policies, and hold few", func() bool {
			mu.Lock()
			defer mu.Unlock()
			for _, h := range hosts {
				if n := h.holds(); n == 0 || n > most {
					return false
				}
			}
			all, err := c.client.Policies(ctx)
			return err == nil && !slices.ContainsFunc(all.Policies, func(p wire.Policy) bool {
				return len(p.Compiled) != len(hosts)
			})
		})
	}
	settled(1 + modules.MaxIdle) // the default decides
	for _, n := range []int{0, 8, 4, 4, 1} {
		if _, err := c.client.PolicyActivate(ctx, loaded[n].Digest); err != nil {
			t.Fatal(err)
		}
		if d := c.decisionOfCreate(); d.Policy != loaded[n].Digest || d.Priority != int32(n+1) || d.Fallback != "" {
			t.Errorf("decided by %s, priority %d, fallback %q; want %s", d.Policy, d.Priority, d.Fallback, loaded[n].Digest)
		}
	}
	settled(2 + modules.MaxIdle)
	if _, err := c.client.PolicyRollback(ctx); err != nil {
		t.Fatal(err)
	}
	if d := c.decisionOfCreate(); d.Policy != loaded[4].Digest || d.Fallback != "" {
		t.Errorf("decided by %s, fallback %q; want %s", d.Policy, d.Fallback, loaded[4].Digest)
	}
	all, err := c.client.Policies(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all.Policies {
		counts := maps.Equal(p.Counters, map[string]int64{"asked": 7}) && p.CountedOn == c.leader()
		if p.State != "loaded" && !counts {
			t.Errorf("%s policy: it counted %v on %q, want 7 on %s", p.State, p.Counters, p.CountedOn, c.leader())
		}
		if len(p.Reasons) == 0 {
			t.Errorf("%s policy %s shows no reasons", p.State, p.Digest)
		}
	}
}

// A cell keeps so many policies; what is loaded already may be loaded again.
func TestLoadedPoliciesAreBounded(t *testing.T) {
	t.Parallel()
	c := newCellWith(t, 1, 0, func(cfg *Config) { cfg.Policies = flatHost{} })
	ctx := testContext(t)
	load := func(n int) error {
		_, err := c.client.PolicyLoadWith(ctx, []byte("flat"), map[string]string{"priority": strconv.Itoa(n)})
		return err
	}
	for n := range modules.MaxLoaded {
		if err := load(n); err != nil {
			t.Fatal(n, err)
		}
	}
	if err := load(modules.MaxLoaded); wire.CodeOf(err) != wire.CodePrecondition ||
		!strings.Contains(err.Error(), "128 policies are loaded, the most a cell keeps") {
		t.Errorf("one more: %v", err)
	}
	if err := load(0); err != nil {
		t.Errorf("one that is loaded: %v", err)
	}
}
