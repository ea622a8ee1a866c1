package node

import (
	"context"
	"errors"
	"io"

	"github.com/datanode/datanode/node/modules"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// servePolicyLoad takes a module's bytes, puts them through the gate with their configuration and makes the
// policy known. The other nodes fetch the bytes from here; the configuration is in the log.
func (n *Node) servePolicyLoad(ctx context.Context, c *mux.ServerCall, req wire.PolicyLoadRequest) error {
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
	digest, err := n.policies.Load(ctx, module, req.Config, n.asker(c), func(ctx context.Context, cmd state.Command) error {
		return n.lead.Propose(ctx, cmd)
	})
	if err != nil {
		return err
	}
	view := n.log.View()
	out := n.describePolicy(view, view.Policy(digest))
	return c.Reply(&out, nil)
}

func (n *Node) servePolicyActivate(ctx context.Context, c *mux.ServerCall, req wire.PolicyRequest) error {
	p, err := modules.Pick(n.describePolicies(n.log.View()), req.Digest)
	if err != nil {
		return err
	}
	if err := n.policies.Prepare(ctx, p.Digest); err != nil {
		return err
	}
	if err := n.lead.Propose(ctx, &state.ActivatePolicy{Digest: p.Digest, AskedBy: n.asker(c)}); err != nil {
		return err
	}
	view := n.log.View()
	out := n.describePolicy(view, view.Policy(p.Digest))
	return c.Reply(&out, nil)
}

func (n *Node) servePolicyRollback(ctx context.Context, c *mux.ServerCall) error {
	if err := n.lead.Propose(ctx, &state.RollbackPolicy{AskedBy: n.asker(c)}); err != nil {
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
		Digest: p.Digest, Name: p.Name, Version: p.Version, Bytes: p.Bytes, State: "loaded",
		Compiled: n.lead.CompiledOn(p.Digest), Module: p.ModuleDigest(), Config: p.Config,
	}
	switch p.Digest {
	case view.Active:
		out.State = "active"
	case view.Previous:
		out.State = "previous"
	}
	if info, ok := n.policies.Info(p.Digest); ok {
		out.Reasons = info.Reasons
	}
	if out.Counters = n.policies.Counters(p.Digest); len(out.Counters) > 0 {
		out.CountedOn = string(n.id)
	}
	return out
}

// servePolicyFetch sends a module's bytes to a node that lacks them.
func (n *Node) servePolicyFetch(ctx context.Context, c *mux.ServerCall, req wire.PolicyRequest) error {
	if !n.policies.Has(req.Digest) {
		return wire.Errorf(c.Op(), wire.CodeNotFound, "%s does not have the module %s", n.id, req.Digest)
	}
	module, err := n.policies.Read(req.Digest)
	if err != nil {
		return err
	}
	if err := c.Send(module); err != nil {
		return err
	}
	return c.Reply(nil, nil)
}

// fetchModule gets a module's bytes from another node. They are not compared with the digest here.
func (n *Node) fetchModule(ctx context.Context, from state.NodeID, digest string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, n.time.stepLimit)
	defer cancel()
	conn, err := n.toNode(ctx, from)
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
	return collect(stream.Recv, modules.MaxModuleBytes)
}

// collect reads chunks to the end, up to limit bytes.
func collect(recv func() ([]byte, error), limit int) ([]byte, error) {
	var all []byte
	for {
		p, err := recv()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if len(all)+len(p) > limit {
			return nil, wire.Errorf(0, wire.CodeInvalid, "more than %d bytes", limit)
		}
		all = append(all, p...)
	}
}
