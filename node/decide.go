package node

import (
	"context"
	"strings"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// decide asks the policy about all drafts at once and writes the decisions into their admits.
func (n *Node) decide(ctx context.Context, view *state.View, drafts []*draft) {
	view = atTime(view, n.log.Now()) // the last entry may be of an hour ago
	var facts []policies.Facts
	var pairs []policies.Pair
	var live []*draft
	for _, d := range drafts {
		if d.refusal != nil {
			continue
		}
		incoming := view.Facts(proposedOp(d.admit), policies.PhaseIncoming)
		if d.admit.Kind == policies.KindCreate {
			copy(incoming.Class[:], d.admit.Class)
			incoming.WantReplicas = d.admit.Want
		}
		facts, live = append(facts, incoming), append(live, d)
		for _, id := range d.open {
			existing := view.Op(id)
			pairs = append(pairs, policies.Pair{
				Existing: view.Facts(existing, phase(existing)), Incoming: incoming, SameNode: existing.Node == d.admit.Node,
			})
		}
	}
	if len(live) == 0 {
		return
	}
	answer := n.policies.ask(ctx, view, facts, pairs)
	next := 0
	for i, d := range live {
		d.admit.Decision = answer.decision(i, facts[i], view.PolicyEpoch)
		for _, id := range d.open {
			d.admit.Decision.Conflicts = append(d.admit.Decision.Conflicts, answer.conflict(next, view.Op(id), pairs[next]))
			next++
		}
	}
}

// proposedOp is the operation that an admit would make, as far as the facts need it.
func proposedOp(a *state.Admit) *state.Op {
	return &state.Op{Kind: a.Kind, Extent: a.Extent, Node: a.Node, Origin: a.Origin}
}

func phase(o *state.Op) policies.Phase {
	if o.State == state.OpRunning {
		return policies.PhaseRunning
	}
	return policies.PhaseQueued
}

// answer is what a policy, or the native default in its place, said about a batch.
type answer struct {
	info        policies.Info
	cost        uint64
	budget      uint64 // of the policy that was asked; 0 if its work is not counted
	fallback    string
	scores      []policies.Score
	resolutions []policies.Resolution
}

func (a *answer) decision(i int, facts policies.Facts, epoch uint64) state.Decision {
	return state.Decision{
		Policy: a.info.Digest, Epoch: epoch, Priority: a.scores[i].Priority, Reason: a.info.Reason(a.scores[i].Reason),
		Cost: a.cost, Facts: facts, Fallback: a.fallback, Budget: a.budget,
	}
}

func (a *answer) conflict(i int, existing *state.Op, pair policies.Pair) state.Conflict {
	asked := a.resolutions[i].Verdict
	final, overruled := policies.Judge(existing.Kind, pair.Incoming.Kind, pair.SameNode, asked)
	reason := a.info.Reason(a.resolutions[i].Reason)
	if overruled {
		reason += "; overruled: outside the envelope"
	}
	return state.Conflict{With: existing.ID, WithKind: existing.Kind, Asked: asked, Final: final, Reason: reason}
}

// ask asks the active policy, within the budget that the view has. The entry is refused as stale if another is in
// force by then. Whatever goes wrong, the native default decides the same batch, and the decision says so.
func (r *registry) ask(ctx context.Context, view *state.View, facts []policies.Facts, pairs []policies.Pair) *answer {
	policy, fallback := r.active(view)
	b, allowed := view.Settings.Budget(), uint64(0)
	held, metered := within(policy, b)
	if metered {
		allowed = b.Of(len(facts)) + b.Of(len(pairs))
	}
	a, err := askOne(ctx, held, facts, pairs)
	if err == nil {
		a.fallback, a.budget = fallback, allowed
		return a
	}
	r.n.logger.Error("policy failed; the native default decides", "policy", policy.Info().Digest, "error", err)
	native, nativeErr := askOne(ctx, policies.Native(), facts, pairs)
	if nativeErr != nil {
		panic("node: the native default policy failed: " + nativeErr.Error()) // it has no way to
	}
	native.fallback, native.budget = failedText(policy.Info().Name, err), allowed
	return native
}

// failedText names the policy once: its errors do too.
func failedText(policy string, err error) string {
	return "policy " + policy + " failed: " + strings.TrimPrefix(err.Error(), "policy "+policy+": ")
}

func askOne(ctx context.Context, p policies.Policy, facts []policies.Facts, pairs []policies.Pair) (*answer, error) {
	a := &answer{info: p.Info(), scores: make([]policies.Score, len(facts)), resolutions: make([]policies.Resolution, len(pairs))}
	cost, err := p.Score(ctx, facts, a.scores)
	if err != nil {
		return nil, err
	}
	a.cost = cost
	if len(pairs) == 0 {
		return a, nil
	}
	cost, err = p.Conflict(ctx, pairs, a.resolutions)
	a.cost += cost
	return a, err
}
