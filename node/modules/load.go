package modules

import (
	"context"
	"time"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

const (
	// MaxLoaded of a cell. Each node compiles all of them when it starts, to tell which it could run; they all
	// have a place in the folder of compiled ones, so that it takes milliseconds.
	MaxLoaded = 128
	// compileWait is how long an activation waits for a majority of the voters to compile the policy.
	compileWait = 15 * time.Second
)

// Load compiles a module with a configuration and brings it into the log through propose, unless it is there already.
// It gives the digest of both. The bound on their number is the leader's to hold, and not the state's: a node of an
// older build would let one more pass, and come to another state.
func (r *Registry) Load(
	ctx context.Context, module []byte, config map[string]string, asker state.Identity,
	propose func(context.Context, state.Command) error,
) (digest string, err error) {
	digest = policies.ConfiguredDigest(DigestOf(module), config)
	select {
	case r.loading <- struct{}{}:
		defer func() { <-r.loading }()
	case <-ctx.Done():
		return digest, ctx.Err()
	}
	view := r.o.Log.View()
	if err := checkCount(view, digest); err != nil {
		return digest, err
	}
	info, have := r.Info(digest)
	if !have {
		if info, err = r.add(ctx, module, config, view.Settings.Budget()); err != nil {
			return digest, err
		}
		r.use(digest) // it is what will be asked for next
		r.cool(ctx, view)
	}
	if r.o.Log.View().Policy(digest) != nil {
		return digest, nil
	}
	cmd := &state.LoadPolicy{
		Digest: digest, Name: info.Name, Version: info.Version, Bytes: uint64(len(module)), Source: r.o.Node,
		AskedBy: asker,
	}
	if len(config) > 0 {
		cmd.Module, cmd.Config = DigestOf(module), config
	}
	return digest, propose(ctx, cmd)
}

// checkCount refuses one more policy than a cell keeps.
func checkCount(view *state.View, digest string) error {
	loaded := 0
	view.Policies(func(*state.LoadPolicy) bool {
		loaded++
		return true
	})
	if loaded < MaxLoaded || view.Policy(digest) != nil {
		return nil
	}
	return wire.Errorf(wire.OpPolicyLoad, wire.CodePrecondition,
		"%d policies are loaded, the most a cell keeps; activate one of those, see policy ls", loaded)
}

// Prepare gets a loaded policy ready to decide: it waits until a majority of the voters could run it, since the next
// leader must not have to fall back to the native default, and gets it into memory here, so that it decides from
// its entry on and the native default not meanwhile.
func (r *Registry) Prepare(ctx context.Context, digest string) error {
	if err := r.waitCompiled(ctx, digest); err != nil {
		return err
	}
	if loaded := r.o.Log.View().Policy(digest); loaded != nil {
		r.ensure(ctx, loaded, true)
		r.use(digest)
	}
	return nil
}

func (r *Registry) waitCompiled(ctx context.Context, digest string) error {
	deadline := r.o.After(compileWait)
	for {
		have, voters := r.votersWith(digest)
		if 2*have > voters {
			return nil
		}
		select {
		case <-r.o.After(r.o.Tick): // heartbeats report it; they change nothing in the log
		case <-deadline:
			return wire.Errorf(wire.OpPolicyActivate, wire.CodePrecondition,
				"only %d of %d voters have compiled the policy; a majority must", have, voters)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *Registry) votersWith(digest string) (have, voters int) {
	compiled := map[string]bool{}
	for _, id := range r.o.CompiledOn(digest) {
		compiled[id] = true
	}
	r.o.Log.View().Nodes(func(node *state.Node) bool {
		if node.Voter {
			voters++
			if compiled[string(node.ID)] {
				have++
			}
		}
		return true
	})
	return have, voters
}
