package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// MaxModuleBytes bounds a policy module: what any gate lets pass.
const MaxModuleBytes = 8 << 20

// registry keeps the policies that the log names: the bytes of their modules on disk, by digest, and a few of
// them in memory, each compiled with its configuration (registry_warm.go). A module that is not here yet is fetched
// from a node that has it.
type registry struct {
	n   *Node
	dir string

	// loading holds a token while a policy is brought into the log, so that no more are than there is room for.
	loading chan struct{}

	mu      sync.Mutex
	usable  map[string]policies.Info // Guarded by mu. By digest of module and configuration: what was compiled here.
	warm    map[string]*warm         // Guarded by mu. Those of them that are in memory.
	uses    uint64                   // Guarded by mu. How often one was asked for.
	modules map[string]bool          // Guarded by mu. Digests of the modules that are on disk.
	failed  map[string]string        // Guarded by mu. Why a policy was refused; that is for ever.
	resting map[string]time.Time     // Guarded by mu. Until when one is left alone that failed for another reason.
}

// compileRest is how long a policy is left alone whose compiling failed though nothing is wrong with it: memory
// or disk is short, or no process can be started.
const compileRest = 5 * time.Second

func newRegistry(n *Node) *registry {
	return &registry{
		n: n, dir: filepath.Join(n.cfg.Dir, "policies"),
		loading: make(chan struct{}, 1), usable: map[string]policies.Info{}, warm: map[string]*warm{},
		modules: map[string]bool{}, failed: map[string]string{}, resting: map[string]time.Time{},
	}
}

func (r *registry) open(ctx context.Context) error {
	if err := r.n.cfg.FS.MkdirAll(r.dir); err != nil {
		return fmt.Errorf("policy folder: %w", err)
	}
	if r.n.cfg.Policies == nil || len(r.n.cfg.DefaultModule) == 0 {
		return nil
	}
	if _, err := r.add(ctx, r.n.cfg.DefaultModule, nil, state.MostBudget()); err != nil {
		return fmt.Errorf("default policy: %w", err)
	}
	return nil
}

func digestOf(module []byte) string {
	sum := sha256.Sum256(module)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// add compiles a module with a configuration and keeps its bytes. What a policy may take when it is tried out
// matters where it is loaded. What the log names is compiled within the most there can be: which budget
// is in force then is chance, and it is held to that with every call, here as on nodes that have long compiled it.
func (r *registry) add(ctx context.Context, module []byte, config map[string]string, b state.Budget) (policies.Policy, error) {
	digest := digestOf(module)
	id := policies.ConfiguredDigest(digest, config)
	if p := r.get(id); p != nil {
		return p, nil
	}
	p, err := r.compile(ctx, module, config, b)
	if err != nil {
		return nil, err
	}
	if err := vfs.KeepFile(r.n.cfg.FS, r.path(digest), module); err != nil {
		r.free(ctx, p)
		return nil, fmt.Errorf("keep policy %s: %w", digest, err)
	}
	r.mu.Lock()
	r.modules[digest] = true
	r.mu.Unlock()
	return r.keep(ctx, id, identify(p, id)), nil
}

func (r *registry) compile(ctx context.Context, module []byte, config map[string]string, b state.Budget) (policies.Policy, error) {
	if r.n.cfg.Policies == nil {
		return nil, wire.Errorf(wire.OpPolicyLoad, wire.CodePrecondition, "this node runs without a policy host")
	}
	p, err := r.n.cfg.Policies.Compile(ctx, module, config, b)
	if refused := (*wire.Error)(nil); errors.As(err, &refused) {
		return nil, refused
	}
	if err != nil {
		return nil, wire.Errorf(wire.OpPolicyLoad, wire.CodeInternal, "the policy cannot be compiled here now: %v", err)
	}
	return p, nil
}

// identified is a policy under the digest of its module and configuration, which decisions record.
type identified struct {
	policies.Policy
	digest string
}

func identify(p policies.Policy, digest string) policies.Policy {
	if p.Info().Digest == digest {
		return p
	}
	return &identified{p, digest}
}

func (p *identified) Info() policies.Info {
	info := p.Policy.Info()
	info.Digest = p.digest
	return info
}

// within is a policy held to a budget, if its work is counted.
func within(p policies.Policy, b state.Budget) (held policies.Policy, metered bool) {
	switch p := p.(type) {
	case *identified:
		held, metered = within(p.Policy, b)
		return &identified{held, p.digest}, metered
	case Metered:
		return p.Within(b), true
	}
	return p, false
}

func (r *registry) path(digest string) string {
	return filepath.Join(r.dir, strings.TrimPrefix(digest, "sha256:")+".wasm")
}

func (r *registry) read(digest string) ([]byte, error) {
	return vfs.ReadFile(r.n.cfg.FS, r.path(digest), MaxModuleBytes)
}

// keeps tells whether a module's bytes are here. Only of such a digest is the path formed for a peer.
func (r *registry) keeps(module string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.modules[module]
}

// digests are those of the policies that this node could run.
func (r *registry) digests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for d := range r.usable {
		out = append(out, d)
	}
	return out
}

// active is the policy that decides, or the native default and why it stands in.
func (r *registry) active(view *state.View) (p policies.Policy, fallback string) {
	if view.Active == "" {
		return policies.Native(), ""
	}
	if p := r.get(view.Active); p != nil {
		return p, ""
	}
	return policies.Native(), "policy " + view.Active + " is not compiled on " + string(r.n.id)
}

// run fetches and compiles what the log names.
func (r *registry) run(ctx context.Context) {
	var rested <-chan struct{} // nil: nothing rests
	for {
		changed := r.n.log.Changed()
		if !r.follow(ctx, r.n.log.View()) && rested == nil {
			rested = r.n.after(compileRest)
		}
		select {
		case <-changed:
		case <-rested:
			rested = nil
		case <-ctx.Done():
			return
		}
	}
}

// follow gets what decides and what did before into memory, and has compiled all others once. It is false when it should
// be called again though the state does not change.
func (r *registry) follow(ctx context.Context, view *state.View) bool {
	all := true
	for _, digest := range []string{view.Active, view.Previous} {
		if p := view.Policy(digest); p != nil && ctx.Err() == nil {
			all = r.ensure(ctx, p, true) && all
		}
	}
	view.Policies(func(p *state.LoadPolicy) bool {
		if _, have := r.info(p.Digest); !have {
			all = r.ensure(ctx, p, false) && all
			r.cool(ctx, r.n.log.View()) // it may be another by now that decides
		}
		return ctx.Err() == nil
	})
	r.cool(ctx, r.n.log.View())
	return all
}

// ensure gets a policy compiled here, and into memory if it is to be asked, unless it has been refused. It is false
// when it should be called again though the state does not change.
func (r *registry) ensure(ctx context.Context, p *state.LoadPolicy, asked bool) bool {
	now := r.n.cfg.Clock.Now()
	r.mu.Lock()
	_, failed := r.failed[p.Digest]
	_, have := r.usable[p.Digest]
	have = have && (!asked || r.warm[p.Digest] != nil)
	rests := now.Before(r.resting[p.Digest])
	r.mu.Unlock()
	if have || failed || r.n.cfg.Policies == nil {
		return true
	}
	if rests {
		return false
	}
	module, err := r.read(p.ModuleDigest())
	if err != nil || digestOf(module) != p.ModuleDigest() {
		if module, err = r.fetch(ctx, p); err != nil {
			r.n.logger.Warn("policy not fetched", "policy", p.Digest, "error", err)
			return true
		}
	}
	_, err = r.add(ctx, module, p.Config, state.MostBudget())
	if err == nil || ctx.Err() != nil {
		return true
	}
	r.n.logger.Error("policy not usable here", "policy", p.Digest, "error", err)
	refused := wire.CodeOf(err) == wire.CodeEnvelope
	r.mu.Lock()
	defer r.mu.Unlock()
	if refused {
		r.failed[p.Digest] = err.Error()
	} else {
		r.resting[p.Digest] = r.n.cfg.Clock.Now().Add(compileRest)
	}
	return refused
}

// fetch asks the node that the log names, then all others, for a module's bytes.
func (r *registry) fetch(ctx context.Context, p *state.LoadPolicy) ([]byte, error) {
	from := []state.NodeID{p.Source}
	r.n.log.View().Nodes(func(n *state.Node) bool {
		if n.ID != r.n.id && n.ID != p.Source {
			from = append(from, n.ID)
		}
		return true
	})
	var errs []error
	for _, id := range from {
		module, err := r.fetchFrom(ctx, id, p.ModuleDigest())
		if err == nil {
			return module, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (r *registry) fetchFrom(ctx context.Context, id state.NodeID, digest string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, r.n.time.stepLimit)
	defer cancel()
	conn, err := r.n.toNode(ctx, id)
	if err != nil {
		return nil, err
	}
	stream, err := conn.Open(ctx, mux.Request{
		Op: wire.OpPolicyFetch, Session: wire.SessionControl, Body: &wire.PolicyRequest{Digest: digest},
	})
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	module, err := collect(stream.Recv, MaxModuleBytes)
	if err != nil {
		return nil, err
	}
	if got := digestOf(module); got != digest {
		return nil, fmt.Errorf("%s sent a module with digest %s for %s", id, got, digest)
	}
	return module, nil
}

// seed brings the default policy into a new cell.
func (r *registry) seed() []state.Command {
	if r.n.cfg.Policies == nil || len(r.n.cfg.DefaultModule) == 0 {
		return nil
	}
	digest := digestOf(r.n.cfg.DefaultModule)
	info, _ := r.info(digest) // it was compiled when this node opened
	return []state.Command{
		&state.LoadPolicy{Digest: digest, Name: info.Name, Version: info.Version, Bytes: uint64(len(r.n.cfg.DefaultModule)), Source: r.n.id},
		&state.ActivatePolicy{Digest: digest},
	}
}
