package node

import (
	"context"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// rescore asks the active policy again about queued operations that were scored by another one, or
// whose extent has lost or won live replicas since. Verdicts are not taken back.
func (n *Node) rescore(ctx context.Context, view *state.View) {
	var facts []policies.Facts
	var ops []*state.Op
	view.Queued(func(o *state.Op) bool {
		if outdated(view, o) {
			facts, ops = append(facts, view.Facts(o, policies.PhaseQueued)), append(ops, o)
		}
		return len(ops) < decideAtOnce
	})
	if len(ops) == 0 {
		return
	}
	answer := n.policies.ask(ctx, view, facts, nil)
	cmds := make([]state.Command, len(ops))
	for i, o := range ops {
		cmds[i] = &state.Rescore{Op: o.ID, Decision: answer.decision(i, facts[i], view.PolicyEpoch)}
	}
	if _, _, err := n.log.Propose(ctx, cmds...); err != nil {
		n.logger.Info("priorities not renewed", "error", err)
	}
}

func outdated(view *state.View, o *state.Op) bool {
	if o.Decision.Epoch != view.PolicyEpoch {
		return true
	}
	e := view.Extent(o.Extent)
	return o.Copies() && e != nil && uint8(view.Live(e)) != o.Decision.Facts.LiveReplicas
}
