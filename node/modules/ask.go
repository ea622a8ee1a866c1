package modules

import (
	"context"
	"strings"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// Answer is what a policy, or the native default in its place, said about a batch.
type Answer struct {
	// Fallback is why the native default decides in place of the active policy; empty where it does not.
	Fallback string
	Scores   []policies.Score // one for each of the facts

	info        policies.Info
	cost        uint64
	budget      uint64 // of the policy that was asked; 0 if its work is not counted
	resolutions []policies.Resolution
}

// Decision is what an entry records about the operation with facts, the i-th of the batch, under a policy epoch.
func (a *Answer) Decision(i int, facts policies.Facts, epoch uint64) state.Decision {
	return state.Decision{
		Policy: a.info.Digest, Epoch: epoch, Priority: a.Scores[i].Priority, Reason: a.info.Reason(a.Scores[i].Reason),
		Cost: a.cost, Facts: facts, Fallback: a.Fallback, Budget: a.budget,
	}
}

// Conflict is what an entry records about the i-th pair of the batch: what the policy said, and what comes of it
// within the envelope.
func (a *Answer) Conflict(i int, existing *state.Op, pair policies.Pair) state.Conflict {
	asked := a.resolutions[i].Verdict
	final, overruled := policies.Judge(existing.Kind, pair.Incoming.Kind, pair.SameNode, asked)
	reason := a.info.Reason(a.resolutions[i].Reason)
	if overruled {
		reason += "; overruled: outside the envelope"
	}
	return state.Conflict{With: existing.ID, WithKind: existing.Kind, Asked: asked, Final: final, Reason: reason}
}

// Ask asks the active policy, within the budget that the view has. The entry is refused as stale if another is in
// force by then. Whatever goes wrong, the native default decides the same batch, and the answer says so.
func (r *Registry) Ask(ctx context.Context, view *state.View, facts []policies.Facts, pairs []policies.Pair) *Answer {
	policy, info, fallback := r.active(view)
	b, allowed := view.Settings.Budget(), uint64(0)
	if metered, ok := policy.(Metered); ok {
		policy, allowed = metered.Within(b), b.Of(len(facts))+b.Of(len(pairs))
	}
	a := newAnswer(info, len(facts), len(pairs))
	a.Fallback, a.budget = fallback, allowed
	err := a.ask(ctx, policy, facts, pairs)
	if err == nil {
		return a
	}
	r.o.Logger.Error("policy failed; the native default decides", "policy", info.Digest, "error", err)
	native := policies.Native()
	a = newAnswer(native.Info(), len(facts), len(pairs))
	a.Fallback, a.budget = failedText(info.Name, err), allowed
	if err := a.ask(ctx, native, facts, pairs); err != nil {
		panic("modules: the native default policy failed: " + err.Error()) // it has no way to
	}
	return a
}

// active is the policy that decides, or the native default and why it decides instead.
func (r *Registry) active(view *state.View) (p policies.Policy, info policies.Info, fallback string) {
	if view.Active != "" {
		if w := r.use(view.Active); w != nil {
			return w.policy, w.info, ""
		}
		fallback = "policy " + view.Active + " is not compiled on " + string(r.o.Node)
	}
	native := policies.Native()
	return native, native.Info(), fallback
}

// failedText names the policy once: its errors do too.
func failedText(policy string, err error) string {
	return "policy " + policy + " failed: " + strings.TrimPrefix(err.Error(), "policy "+policy+": ")
}

func newAnswer(info policies.Info, facts, pairs int) *Answer {
	return &Answer{
		info: info, Scores: make([]policies.Score, facts), resolutions: make([]policies.Resolution, pairs),
	}
}

// ask has a policy fill in the answer.
func (a *Answer) ask(ctx context.Context, p policies.Policy, facts []policies.Facts, pairs []policies.Pair) error {
	cost, err := p.Score(ctx, facts, a.Scores)
	if err != nil {
		return err
	}
	a.cost = cost
	if len(pairs) == 0 {
		return nil
	}
	cost, err = p.Conflict(ctx, pairs, a.resolutions)
	a.cost += cost
	return err
}
