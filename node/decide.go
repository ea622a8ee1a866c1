package node

import (
	"context"

	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// decide asks the policy about all drafts at once and writes the decisions into their admits.
func (n *Node) decide(ctx context.Context, view *state.View, drafts []*draft) {
	view = schedule.AtTime(view, n.log.Now()) // the last entry may be of an hour ago
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
	answer := n.policies.Ask(ctx, view, facts, pairs)
	next := 0
	for i, d := range live {
		d.admit.Decision = answer.Decision(i, facts[i], view.PolicyEpoch)
		for _, id := range d.open {
			d.admit.Decision.Conflicts = append(d.admit.Decision.Conflicts, answer.Conflict(next, view.Op(id), pairs[next]))
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
