package node

import (
	"context"
	"time"

	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/raftlog/state"
)

// keepVotes gives the vote of a node that is down to one that is there, and a cell that has too few votes, or an even
// number, another one, if a node can have it: a decommission may have found no successor, and the node that comes back, or a
// new one, is it. A node that comes back without its vote follows the log until another is lost.
func (n *Node) keepVotes(ctx context.Context, view *state.View) {
	ctx, cancel := context.WithTimeout(ctx, n.time.stepLimit)
	defer cancel()
	if err := n.settleVotes(ctx, view); err != nil {
		n.logger.Info("votes not recorded yet", "error", err)
		return
	}
	votes := schedule.VotesOf(view, n.canVote, 2*n.time.downAfter)
	lost, candidate := votes.Lost, votes.Candidate
	switch {
	case candidate == nil:
		return
	case lost != nil && n.watch.ledFor(n.time.downAfter+schedule.VoteGrace):
		n.logger.Warn("a vote goes to another node", "from", string(lost.ID), "to", string(candidate.ID))
		// Taken first: that needs nobody whom the cell does not need already. With one vote more, of which one is
		// nobody's, the candidate would be needed to agree on anything before it has the log.
		if err := n.demote(ctx, lost); err != nil {
			n.logger.Info("vote not taken yet", "from", string(lost.ID), "error", err)
			return
		}
	case votes.Enough():
		return
	}
	if err := n.promote(ctx, candidate); err != nil {
		n.logger.Info("vote not given yet", "to", string(candidate.ID), "error", err)
	}
}

// ledFor tells whether this node has led for so long. Before, it does not know whom it would have heard of by now: what
// the state calls down may just be starting.
func (w *watch) ledFor(limit time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.since.IsZero() && w.n.now().Sub(w.since) > limit
}

// canVote tells whether a node may be given a vote. One that is only said to be up, and was not heard of since this
// node leads, may be gone: with its vote the cell could need it to agree on anything.
func (n *Node) canVote(node *state.Node) bool {
	return node.Takes() && (node.ID == n.id || n.watch.alive(node.ID))
}

// promote gives a node a vote, in the group and then in the state.
func (n *Node) promote(ctx context.Context, node *state.Node) error {
	if err := n.log.AddVoter(ctx, node.ID, node.Addr); err != nil {
		return err
	}
	return n.proposeOne(ctx, &state.SetVoter{Node: node.ID, Voter: true})
}

func (n *Node) moveVote(ctx context.Context, view *state.View, node *state.Node) error {
	if !node.Voter {
		return nil
	}
	if node.ID == n.id {
		return n.log.TransferLeadership(ctx)
	}
	successor, err := schedule.Successor(view, node, n.canVote)
	if err != nil {
		return err
	}
	if successor != nil {
		if err := n.promote(ctx, successor); err != nil {
			return err
		}
	}
	return n.demote(ctx, node)
}

// demote takes a node's vote, in the group and then in the state.
func (n *Node) demote(ctx context.Context, node *state.Node) error {
	if err := n.log.Demote(ctx, node.ID); err != nil {
		return err
	}
	return n.proposeOne(ctx, &state.SetVoter{Node: node.ID})
}
