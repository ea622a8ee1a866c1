package node

import (
	"context"
	"time"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// compileWait is how long an activation waits for a majority of the voters to compile the policy.
const compileWait = 15 * time.Second

// servePolicyLoad takes a module's bytes, puts them through the gate with their configuration and makes the
// policy known. The other nodes fetch the bytes from here; the configuration is in the log.
func (n *Node) servePolicyLoad(ctx context.Context, c *mux.ServerCall, req wire.PolicyLoadRequest) error {
	if err := policies.CheckConfig(req.Config); err != nil {
		return wire.Errorf(c.Op(), wire.CodeInvalid, "%v", err)
	}
	module, err := collect(c.Recv, MaxModuleBytes)
	if wire.CodeOf(err) == wire.CodeInvalid {
		return wire.Errorf(c.Op(), wire.CodeEnvelope, "policy refused (too-large): %v: build without symbols", err)
	}
	if err != nil {
		return err
	}
	digest := policies.ConfiguredDigest(digestOf(module), req.Config)
	if err := n.loadPolicy(ctx, digest, module, req.Config, n.asker(c)); err != nil {
		return err
	}
	view := n.log.View()
	out := n.describePolicy(view, view.Policy(digest))
	return c.Reply(&out, nil)
}

// loadPolicy brings a policy into the log, unless it is there already. The bound is the leader's to hold, and not
// the state's: a node of an older build would let one more pass, and come to another state.
func (n *Node) loadPolicy(ctx context.Context, digest string, module []byte, config map[string]string, asker state.Identity) error {
	select {
	case n.policies.loading <- struct{}{}:
		defer func() { <-n.policies.loading }()
	case <-ctx.Done():
		return ctx.Err()
	}
	view := n.log.View()
	if err := roomFor(view, digest); err != nil {
		return err
	}
	info, have := n.policies.info(digest)
	if !have {
		p, err := n.policies.add(ctx, module, config, view.Settings.Budget())
		if err != nil {
			return err
		}
		info = p.Info()
		n.policies.get(digest) // it is what will be asked for next
		n.policies.cool(ctx, view)
	}
	if n.log.View().Policy(digest) != nil {
		return nil
	}
	load := &state.LoadPolicy{Digest: digest, Name: info.Name, Version: info.Version, Bytes: uint64(len(module)), Source: n.id, AskedBy: asker}
	if len(config) > 0 {
		load.Module, load.Config = digestOf(module), config
	}
	return n.proposeOne(ctx, load)
}

func (n *Node) servePolicyActivate(ctx context.Context, c *mux.ServerCall, req wire.PolicyRequest) error {
	p, err := PickPolicy(n.describePolicies(n.log.View()), req.Digest)
	if err != nil {
		return err
	}
	if err := n.waitCompiled(ctx, p.Digest); err != nil {
		return err
	}
	if loaded := n.log.View().Policy(p.Digest); loaded != nil {
		n.policies.ensure(ctx, loaded, true) // so that it decides from its entry on, and the native default not meanwhile
		n.policies.get(p.Digest)
	}
	if err := n.proposeOne(ctx, &state.ActivatePolicy{Digest: p.Digest, AskedBy: n.asker(c)}); err != nil {
		return err
	}
	view := n.log.View()
	out := n.describePolicy(view, view.Policy(p.Digest))
	return c.Reply(&out, nil)
}

// waitCompiled waits until a majority of the voters could run a policy: the next leader must not
// have to fall back to the native default.
func (n *Node) waitCompiled(ctx context.Context, digest string) error {
	deadline := n.after(compileWait)
	for {
		have, voters := n.votersWith(digest)
		if 2*have > voters {
			return nil
		}
		select {
		case <-n.after(n.time.tick): // heartbeats tell; they change nothing in the log
		case <-deadline:
			return wire.Errorf(wire.OpPolicyActivate, wire.CodePrecondition, "only %d of %d voters have compiled the policy; a majority must", have, voters)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (n *Node) votersWith(digest string) (have, voters int) {
	compiled := map[string]bool{}
	for _, id := range n.watch.compiledOn(digest) {
		compiled[id] = true
	}
	n.log.View().Nodes(func(node *state.Node) bool {
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

func (n *Node) servePolicyRollback(ctx context.Context, c *mux.ServerCall) error {
	if err := n.proposeOne(ctx, &state.RollbackPolicy{AskedBy: n.asker(c)}); err != nil {
		return err
	}
	view := n.log.View()
	out := wire.Policy{Name: "native default", Digest: "native", State: "active"}
	if p := view.Policy(view.Active); p != nil {
		out = n.describePolicy(view, p)
	}
	return c.Reply(&out, nil)
}

func (n *Node) servePolicies(ctx context.Context, c *mux.ServerCall) error {
	view := n.log.View()
	return c.Reply(&wire.PoliciesReply{Epoch: view.PolicyEpoch, Policies: n.describePolicies(view)}, nil)
}

func (n *Node) describePolicies(view *state.View) (all []wire.Policy) {
	view.Policies(func(p *state.LoadPolicy) bool {
		all = append(all, n.describePolicy(view, p))
		return true
	})
	return all
}

func (n *Node) describePolicy(view *state.View, p *state.LoadPolicy) wire.Policy {
	out := wire.Policy{
		Digest: p.Digest, Name: p.Name, Version: p.Version, Bytes: p.Bytes, State: "loaded", Compiled: n.watch.compiledOn(p.Digest),
		Module: p.ModuleDigest(), Config: p.Config,
	}
	switch p.Digest {
	case view.Active:
		out.State = "active"
	case view.Previous:
		out.State = "previous"
	}
	if info, ok := n.policies.info(p.Digest); ok {
		out.Reasons = info.Reasons
	}
	if out.Counters = n.policies.counters(p.Digest); len(out.Counters) > 0 {
		out.CountedOn = string(n.id)
	}
	return out
}

// servePolicyFetch sends a module's bytes to a node that lacks them.
func (n *Node) servePolicyFetch(ctx context.Context, c *mux.ServerCall, req wire.PolicyRequest) error {
	if !n.policies.keeps(req.Digest) {
		return wire.Errorf(c.Op(), wire.CodeNotFound, "%s does not have the module %s", n.id, req.Digest)
	}
	module, err := n.policies.read(req.Digest)
	if err != nil {
		return err
	}
	if err := c.Send(module); err != nil {
		return err
	}
	return c.Reply(nil, nil)
}
