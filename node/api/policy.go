package api

import (
	"context"

	"github.com/datanode/datanode/node/modules"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// propose proposes a command on the leader and makes its refusal the error.
func (a *API) propose(ctx context.Context, cmd state.Command) error {
	return a.o.Lead.Propose(ctx, cmd)
}

// ServePolicyLoad takes a module's bytes, puts them through the gate with their configuration and makes the
// policy known. The other nodes fetch the bytes from here; the configuration is in the log.
func (a *API) ServePolicyLoad(ctx context.Context, c *mux.ServerCall, req wire.PolicyLoadRequest) error {
	if err := policies.CheckConfig(req.Config); err != nil {
		return wire.Errorf(c.Op(), wire.CodeInvalid, "%v", err)
	}
	module, err := collect(c.Recv, modules.MaxModuleBytes)
	if wire.CodeOf(err) == wire.CodeInvalid {
		return wire.Errorf(c.Op(), wire.CodeEnvelope, "policy refused (too-large): %v: build without symbols", err)
	}
	if err != nil {
		return err
	}
	digest, err := a.o.Modules.Load(ctx, module, req.Config, a.asker(c), a.propose)
	if err != nil {
		return err
	}
	view := a.o.Log.View()
	out := a.describePolicy(view, view.Policy(digest))
	return c.Reply(&out, nil)
}

// ServePolicyActivate has a loaded policy decide, once it could on a majority of the voters.
func (a *API) ServePolicyActivate(ctx context.Context, c *mux.ServerCall, req wire.PolicyRequest) error {
	p, err := modules.Pick(a.describePolicies(a.o.Log.View()), req.Digest)
	if err != nil {
		return err
	}
	if err := a.o.Modules.Prepare(ctx, p.Digest); err != nil {
		return err
	}
	if err := a.propose(ctx, &state.ActivatePolicy{Digest: p.Digest, AskedBy: a.asker(c)}); err != nil {
		return err
	}
	view := a.o.Log.View()
	out := a.describePolicy(view, view.Policy(p.Digest))
	return c.Reply(&out, nil)
}

// ServePolicyRollback has the policy decide that did before.
func (a *API) ServePolicyRollback(ctx context.Context, c *mux.ServerCall) error {
	if err := a.propose(ctx, &state.RollbackPolicy{AskedBy: a.asker(c)}); err != nil {
		return err
	}
	view := a.o.Log.View()
	out := wire.Policy{Name: "native default", Digest: "native", State: "active"}
	if p := view.Policy(view.Active); p != nil {
		out = a.describePolicy(view, p)
	}
	return c.Reply(&out, nil)
}

// ServePolicies lists the policies that are loaded.
func (a *API) ServePolicies(ctx context.Context, c *mux.ServerCall) error {
	view := a.o.Log.View()
	return c.Reply(&wire.PoliciesReply{Epoch: view.PolicyEpoch, Policies: a.describePolicies(view)}, nil)
}

func (a *API) describePolicies(view *state.View) (all []wire.Policy) {
	view.Policies(func(p *state.LoadPolicy) bool {
		all = append(all, a.describePolicy(view, p))
		return true
	})
	return all
}

func (a *API) describePolicy(view *state.View, p *state.LoadPolicy) wire.Policy {
	out := wire.Policy{
		Digest: p.Digest, Name: p.Name, Version: p.Version, Bytes: p.Bytes, State: "loaded",
		Compiled: a.o.Lead.CompiledOn(p.Digest), Module: p.ModuleDigest(), Config: p.Config,
	}
	switch p.Digest {
	case view.Active:
		out.State = "active"
	case view.Previous:
		out.State = "previous"
	}
	if info, ok := a.o.Modules.Info(p.Digest); ok {
		out.Reasons = info.Reasons
	}
	if out.Counters = a.o.Modules.Counters(p.Digest); len(out.Counters) > 0 {
		out.CountedOn = string(a.o.Node)
	}
	return out
}
