package node

import (
	"cmp"
	"context"
	"slices"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

const (
	// maxLoadedPolicies of a cell. Each node compiles all of them when it starts, to tell which it could run; they all
	// have a place in the folder of compiled ones, so that it takes milliseconds.
	maxLoadedPolicies = 128
	// maxIdlePolicies are kept in memory besides the one that decides and the one before: a policy in Go takes
	// some 20 MiB.
	maxIdlePolicies = 2
)

// Closer is a policy that holds memory.
type Closer interface {
	policies.Policy
	// Close frees it, after the calls that run. Calls after it fail.
	Close(ctx context.Context) error
}

// Counted is a policy that counts what it likes.
type Counted interface {
	policies.Policy
	// Counters is a copy of what it has counted here, by name.
	Counters() map[string]int64
}

// warm is a policy in memory.
type warm struct {
	policy policies.Policy
	used   uint64 // Guarded by the registry's mu. When it was last asked for, by registry.uses; 0 for never.
}

// get is a policy that is in memory; nil if it is not.
func (r *registry) get(digest string) policies.Policy {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.warm[digest]
	if w == nil {
		return nil
	}
	r.uses++
	w.used = r.uses
	return w.policy
}

// info is what is known of a policy that this node could run: it was compiled here, and is in memory or will be
// as soon as it is activated.
func (r *registry) info(digest string) (policies.Info, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	info, ok := r.usable[digest]
	return info, ok
}

// keep puts a policy that was compiled into memory, and gives the one that is there now: another may have been faster.
func (r *registry) keep(ctx context.Context, digest string, p policies.Policy) policies.Policy {
	r.mu.Lock()
	before := r.warm[digest]
	if before == nil {
		r.warm[digest] = &warm{policy: p}
		r.usable[digest] = p.Info()
	}
	r.mu.Unlock()
	if before == nil {
		return p
	}
	r.free(ctx, p)
	return before.policy
}

// cool frees what is in memory without need: what neither decides nor did before, nor is among the few that were
// used last. One that is asked meanwhile, since it decided a moment ago, may fail; its decision is made again, since
// the policy epoch is another.
func (r *registry) cool(ctx context.Context, view *state.View) {
	r.mu.Lock()
	var idle []string
	for digest := range r.warm {
		if digest != view.Active && digest != view.Previous {
			idle = append(idle, digest)
		}
	}
	slices.SortFunc(idle, func(a, b string) int { return cmp.Compare(r.warm[b].used, r.warm[a].used) })
	var cold []policies.Policy
	for _, digest := range idle[min(len(idle), maxIdlePolicies):] {
		cold = append(cold, r.warm[digest].policy)
		delete(r.warm, digest)
	}
	r.mu.Unlock()
	for _, p := range cold {
		r.free(ctx, p)
	}
}

func (r *registry) free(ctx context.Context, p policies.Policy) {
	if same, ok := p.(*identified); ok {
		p = same.Policy
	}
	c, ok := p.(Closer)
	if !ok {
		return
	}
	if err := c.Close(context.WithoutCancel(ctx)); err != nil {
		r.n.logger.Warn("policy not freed", "policy", p.Info().Digest, "error", err)
	}
}

// counters are what a policy in memory has counted on this node.
func (r *registry) counters(digest string) map[string]int64 {
	r.mu.Lock()
	w := r.warm[digest]
	r.mu.Unlock()
	if w == nil {
		return nil
	}
	p := w.policy
	if same, ok := p.(*identified); ok {
		p = same.Policy
	}
	if c, ok := p.(Counted); ok {
		return c.Counters()
	}
	return nil
}

// roomFor refuses one more policy than a cell keeps.
func roomFor(view *state.View, digest string) error {
	loaded := 0
	view.Policies(func(*state.LoadPolicy) bool {
		loaded++
		return true
	})
	if loaded < maxLoadedPolicies || view.Policy(digest) != nil {
		return nil
	}
	return wire.Errorf(wire.OpPolicyLoad, wire.CodePrecondition,
		"%d policies are loaded, the most a cell keeps; activate one of those, see policy ls", loaded)
}
