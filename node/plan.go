package node

import (
	"context"

	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// plan is the leader's other loop: it submits the operations that nobody asks for by name. Repairs
// of extents that lost replicas, seals of open extents whose replicas are not all there, the moves of
// a decommission. It looks at the state, not at what it did before, so a new leader goes on where
// the old one stopped.
func (n *Node) plan(ctx context.Context) {
	for {
		changed, elected := n.log.Changed(), n.log.LeaderChanged()
		if n.log.IsLeader() && n.ready.Load() && n.confirmLead(ctx) == nil {
			n.planRound(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-elected:
		case <-changed:
			// Entries come in bursts; one look covers many.
			select {
			case <-n.after(n.time.tick):
			case <-ctx.Done():
				return
			}
		case <-n.after(n.time.tick): // delays end without a change
		}
	}
}

func (n *Node) planRound(ctx context.Context) {
	n.keepVotes(ctx, schedule.AtTime(n.log.View(), n.log.Now()))
	view := schedule.AtTime(n.log.View(), n.log.Now())
	needs := schedule.NeedsOf(view, 2*n.time.downAfter)
	if len(needs.Wanted) > 0 {
		limited, cancel := context.WithTimeout(ctx, n.time.stepLimit)
		wanted := submissionsOf(needs.Wanted)
		results, err := n.admit.submit(limited, wanted)
		cancel()
		n.logPlan(wanted, results, err)
	}
	for _, node := range needs.Emptied {
		n.finishDecommission(ctx, view, node)
	}
	if err := n.recordMoves(ctx); err != nil {
		n.logger.Info("new addresses not recorded yet", "error", err)
	}
}

func submissionsOf(needs []schedule.Need) []*submission {
	subs := make([]*submission, len(needs))
	for i, need := range needs {
		subs[i] = &submission{
			Submission: wire.Submission{
				Kind: need.Kind.String(), Extent: uint64(need.Extent), Node: string(need.From), Urgent: need.Urgent,
			},
			origin: need.Origin, parent: need.Parent,
		}
	}
	return subs
}

func (n *Node) logPlan(wanted []*submission, results []wire.Submitted, err error) {
	if err != nil {
		n.logger.Info("plan not admitted", "submissions", len(wanted), "error", err)
		return
	}
	for i, res := range results {
		if res.Code != 0 {
			n.logger.Info("planned operation refused", "kind", wanted[i].Kind, "extent", wanted[i].Extent, "why", res.Detail)
		}
	}
}

// finishDecommission takes the node's vote, gives one to another node so that the cell keeps as many
// as it had, and ends the operation.
func (n *Node) finishDecommission(ctx context.Context, view *state.View, node *state.Node) {
	ctx, cancel := context.WithTimeout(ctx, n.time.stepLimit)
	defer cancel()
	if err := n.moveVote(ctx, view, node); err != nil {
		n.logger.Warn("vote not moved yet", "from", string(node.ID), "error", err)
		return
	}
	if !n.log.IsLeader() {
		return // it was this node: the next leader goes on
	}
	o := view.Op(node.Decommission)
	finish := &state.Finish{Op: o.ID, Fence: o.Fence, Outcome: state.OutcomeDone}
	var err error
	if node.State == state.NodeDown {
		err = n.forget(ctx, &state.RemoveNode{Node: node.ID, Incarnation: node.Incarnation, Note: "down at the end of its decommission"}, finish)
	} else {
		err = n.proposeOne(ctx, finish)
	}
	if err != nil {
		n.logger.Info("decommission not ended yet", "node", string(node.ID), "error", err)
	}
}
