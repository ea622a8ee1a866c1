package modules

import (
	"cmp"
	"context"
	"slices"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// MaxIdle are kept in memory besides the one that decides and the one before: a policy in Go takes
// some 20 MiB.
const MaxIdle = 2

// warm is a policy in memory.
type warm struct {
	policy policies.Policy
	info   policies.Info // with the digest of module and configuration, which decisions record
	used   uint64        // Guarded by the registry's mu. When it was last asked for, by Registry.uses; 0 for never.
}

// use is a policy that is in memory, and notes that it was asked for; nil if it is not.
func (r *Registry) use(digest string) *warm {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.warm[digest]
	if w == nil {
		return nil
	}
	r.uses++
	w.used = r.uses
	return w
}

// Info is what is known of a policy that this node could run: it was compiled here, and is in memory or will be
// as soon as it is activated.
func (r *Registry) Info(digest string) (policies.Info, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	info, ok := r.usable[digest]
	return info, ok
}

// Digests are those of the policies that this node could run.
func (r *Registry) Digests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for d := range r.usable {
		out = append(out, d)
	}
	return out
}

// Keep puts a policy that was compiled into memory under the digest of its module and configuration. If another is
// there already, since it was faster, p is freed. It gives what is known of the one that is there now.
func (r *Registry) Keep(ctx context.Context, digest string, p policies.Policy) policies.Info {
	r.mu.Lock()
	before := r.warm[digest]
	if before != nil {
		r.mu.Unlock()
		r.free(ctx, digest, p)
		return before.info
	}
	info := p.Info()
	info.Digest = digest
	r.warm[digest] = &warm{policy: p, info: info}
	r.usable[digest] = info
	r.mu.Unlock()
	return info
}

// cool frees what is in memory without need: what neither decides nor did before, nor is among the few that were
// used last. One that is asked meanwhile, since it decided a moment ago, may fail; its decision is made again, since
// the policy epoch is another.
func (r *Registry) cool(ctx context.Context, view *state.View) {
	r.mu.Lock()
	var idle []string
	for digest := range r.warm {
		if digest != view.Active && digest != view.Previous {
			idle = append(idle, digest)
		}
	}
	slices.SortFunc(idle, func(a, b string) int { return cmp.Compare(r.warm[b].used, r.warm[a].used) })
	cold := map[string]policies.Policy{}
	for _, digest := range idle[min(len(idle), MaxIdle):] {
		cold[digest] = r.warm[digest].policy
		delete(r.warm, digest)
	}
	r.mu.Unlock()
	for digest, p := range cold {
		r.free(ctx, digest, p)
	}
}

func (r *Registry) free(ctx context.Context, digest string, p policies.Policy) {
	c, ok := p.(Closer)
	if !ok {
		return
	}
	if err := c.Close(context.WithoutCancel(ctx)); err != nil {
		r.o.Logger.Warn("policy not freed", "policy", digest, "error", err)
	}
}

// Counters are what a policy in memory has counted on this node.
func (r *Registry) Counters(digest string) map[string]int64 {
	r.mu.Lock()
	w := r.warm[digest]
	r.mu.Unlock()
	if w == nil {
		return nil
	}
	if c, ok := w.policy.(Counted); ok {
		return c.Counters()
	}
	return nil
}
