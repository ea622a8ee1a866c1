package modules

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Log is what a registry sees of the operation log.
type Log interface {
	// View is the state as it is now; it does not change. It may be called from any goroutine.
	View() *state.View
	// Changed is closed at the next change of the state after the call.
	Changed() <-chan struct{}
}

// Options say what a registry works with. All are needed but Host and DefaultModule.
type Options struct {
	Node          state.NodeID // this node
	Dir           string       // the folder for modules' bytes; made if it is missing
	FS            vfs.FS       // what the folder is on
	Log           Log
	Host          Host   // nil: the native default decides everything
	DefaultModule []byte // brought into a new cell, and compiled when the registry is opened; nil: none

	// Fetch gets a module's bytes, MaxModuleBytes at most, from another node. Who sends them is not trusted: they
	// are compared with the digest here.
	Fetch func(ctx context.Context, from state.NodeID, digest string) ([]byte, error)
	// CompiledOn are the nodes that have reported that they could run a policy. Only a leader knows about others.
	CompiledOn func(digest string) []string

	Now    func() time.Time
	After  func(time.Duration) <-chan struct{} // closed when so long has gone by
	Tick   time.Duration                       // how often CompiledOn is asked while it is waited for
	Logger *slog.Logger
}

// Registry is the policies of a cell, on one node. See the package for who may call it.
type Registry struct {
	o Options

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

// New makes a registry that knows no policy yet.
func New(o Options) *Registry {
	return &Registry{
		o: o, loading: make(chan struct{}, 1), usable: map[string]policies.Info{}, warm: map[string]*warm{},
		modules: map[string]bool{}, failed: map[string]string{}, resting: map[string]time.Time{},
	}
}

// Open makes the folder and compiles the default module. The error is for the person who starts the node.
func (r *Registry) Open(ctx context.Context) error {
	if err := r.o.FS.MkdirAll(r.o.Dir); err != nil {
		return fmt.Errorf("policy folder: %w", err)
	}
	if r.o.Host == nil || len(r.o.DefaultModule) == 0 {
		return nil
	}
	if _, err := r.add(ctx, r.o.DefaultModule, nil, state.MostBudget()); err != nil {
		return fmt.Errorf("default policy: %w", err)
	}
	return nil
}

// Seed brings the default policy into a new cell.
func (r *Registry) Seed() []state.Command {
	if r.o.Host == nil || len(r.o.DefaultModule) == 0 {
		return nil
	}
	digest := DigestOf(r.o.DefaultModule)
	info, _ := r.Info(digest) // it was compiled when this registry was opened
	return []state.Command{
		&state.LoadPolicy{
			Digest: digest, Name: info.Name, Version: info.Version,
			Bytes: uint64(len(r.o.DefaultModule)), Source: r.o.Node,
		},
		&state.ActivatePolicy{Digest: digest},
	}
}

// Run fetches and compiles what the log names, until ctx ends.
func (r *Registry) Run(ctx context.Context) {
	var rested <-chan struct{} // nil: nothing rests
	for {
		changed := r.o.Log.Changed()
		if !r.follow(ctx, r.o.Log.View()) && rested == nil {
			rested = r.o.After(compileRest)
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

// follow gets what decides and what did before into memory, and has compiled all others once. It is false when it
// should be called again though the state does not change.
func (r *Registry) follow(ctx context.Context, view *state.View) bool {
	all := true
	for _, digest := range []string{view.Active, view.Previous} {
		if p := view.Policy(digest); p != nil && ctx.Err() == nil {
			all = r.ensure(ctx, p, true) && all
		}
	}
	view.Policies(func(p *state.LoadPolicy) bool {
		if _, have := r.Info(p.Digest); !have {
			all = r.ensure(ctx, p, false) && all
			r.cool(ctx, r.o.Log.View()) // it may be another by now that decides
		}
		return ctx.Err() == nil
	})
	r.cool(ctx, r.o.Log.View())
	return all
}

// ensure gets a policy compiled here, and into memory if it is to be asked, unless it has been refused. It is false
// when it should be called again though the state does not change.
func (r *Registry) ensure(ctx context.Context, p *state.LoadPolicy, asked bool) bool {
	now := r.o.Now()
	r.mu.Lock()
	_, failed := r.failed[p.Digest]
	_, have := r.usable[p.Digest]
	have = have && (!asked || r.warm[p.Digest] != nil)
	rests := now.Before(r.resting[p.Digest])
	r.mu.Unlock()
	if have || failed || r.o.Host == nil {
		return true
	}
	if rests {
		return false
	}
	module, err := r.Read(p.ModuleDigest())
	if err != nil || DigestOf(module) != p.ModuleDigest() {
		if module, err = r.fetch(ctx, p); err != nil {
			r.o.Logger.Warn("policy not fetched", "policy", p.Digest, "error", err)
			return true
		}
	}
	_, err = r.add(ctx, module, p.Config, state.MostBudget())
	if err == nil || ctx.Err() != nil {
		return true
	}
	r.o.Logger.Error("policy not usable here", "policy", p.Digest, "error", err)
	refused := wire.CodeOf(err) == wire.CodeEnvelope
	r.mu.Lock()
	defer r.mu.Unlock()
	if refused {
		r.failed[p.Digest] = err.Error()
	} else {
		r.resting[p.Digest] = r.o.Now().Add(compileRest)
	}
	return refused
}

// add compiles a module with a configuration, keeps its bytes and puts it into memory. What a policy may take when it
// is tried out matters where it is loaded. What the log names is compiled within the most there can be: which budget
// is in force then is chance, and it is held to that with every call, here as on nodes that have long compiled it.
func (r *Registry) add(
	ctx context.Context, module []byte, config map[string]string, b policies.Budget,
) (policies.Info, error) {
	digest := DigestOf(module)
	id := policies.ConfiguredDigest(digest, config)
	if w := r.use(id); w != nil {
		return w.info, nil
	}
	p, err := r.compile(ctx, module, config, b)
	if err != nil {
		return policies.Info{}, err
	}
	if err := vfs.KeepFile(r.o.FS, r.path(digest), module); err != nil {
		r.free(ctx, digest, p)
		return policies.Info{}, fmt.Errorf("keep policy %s: %w", digest, err)
	}
	r.mu.Lock()
	r.modules[digest] = true
	r.mu.Unlock()
	return r.Keep(ctx, id, p), nil
}

func (r *Registry) compile(
	ctx context.Context, module []byte, config map[string]string, b policies.Budget,
) (policies.Policy, error) {
	if r.o.Host == nil {
		return nil, wire.Errorf(wire.OpPolicyLoad, wire.CodePrecondition, "this node runs without a policy host")
	}
	p, err := r.o.Host.Compile(ctx, module, config, b)
	if refused := (*wire.Error)(nil); errors.As(err, &refused) {
		return nil, refused
	}
	if err != nil {
		return nil, wire.Errorf(wire.OpPolicyLoad, wire.CodeInternal, "the policy cannot be compiled here now: %v", err)
	}
	return p, nil
}
