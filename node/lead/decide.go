package lead

import (
	"context"

	"github.com/datanode/datanode/node/modules"
	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
)

// decider says what may be decided, and what the policy decides. Its methods may be called from any goroutine.
type decider struct {
	log          *raftlog.Group
	modules      *modules.Registry
	quotaRefused func()
}

// decide asks the policy about all drafts at once and writes the decisions into their admits.
func (d *decider) decide(ctx context.Context, view *state.View, drafts []*draft) {
	view = schedule.AtTime(view, d.log.Now()) // the last entry may be of an hour ago
	var facts []policies.Facts
	var pairs []policies.Pair
	var live []*draft
	for _, one := range drafts {
		if one.refusal != nil {
			continue
		}
		incoming := view.Facts(proposedOp(one.admit), policies.PhaseIncoming)
		if one.admit.Kind == policies.KindCreate {
			copy(incoming.Class[:], one.admit.Class)
			incoming.WantReplicas = one.admit.Want
		}
		facts, live = append(facts, incoming), append(live, one)
		for _, id := range one.open {
			existing := view.Op(id)
			pairs = append(pairs, policies.Pair{
				Existing: view.Facts(existing, phase(existing)), Incoming: incoming, SameNode: existing.Node == one.admit.Node,
			})
		}
	}
	if len(live) == 0 {
		return
	}
	answer := d.modules.Ask(ctx, view, facts, pairs)
	next := 0
	for i, one := range live {
		one.admit.Decision = answer.Decision(i, facts[i], view.PolicyEpoch)
		for _, id := range one.open {
			one.admit.Decision.Conflicts = append(one.admit.Decision.Conflicts, answer.Conflict(next, view.Op(id), pairs[next]))
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
