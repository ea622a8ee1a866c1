package node

import (
	"context"
	"fmt"
	"time"

	"github.com/datanode/datanode/raftlog/state"
)

// voteGrace is how long a node is down before its vote goes to another: one that is only started anew keeps it.
const voteGrace = 3 * time.Second

// keepVotes gives the vote of a node that is down to one that is there, and a cell that has too few votes, or an even
// number, another one, if a node can have it: a decommission may have found no heir, and the node that comes back, or a
// new one, is it. A node that comes back without its vote follows the log until another is lost.
func (n *Node) keepVotes(ctx context.Context, view *state.View) {
	ctx, cancel := context.WithTimeout(ctx, n.time.stepLimit)
	defer cancel()
	if err := n.settleVotes(ctx, view); err != nil {
		n.logger.Info("votes not recorded yet", "error", err)
		return
	}
	lost, heir, votes := votesOf(view, n.canVote, 2*n.time.downAfter)
	switch {
	case heir == nil:
		return
	case lost != nil && n.watch.ledFor(n.time.downAfter+voteGrace):
		n.logger.Warn("a vote goes to another node", "from", string(lost.ID), "to", string(heir.ID))
		// Taken first: that needs nobody whom the cell does not need already. With one vote more, of which one is
		// nobody's, the heir would be needed to agree on anything before it has the log.
		if err := n.demote(ctx, lost); err != nil {
			n.logger.Info("vote not taken yet", "from", string(lost.ID), "error", err)
			return
		}
	case votes >= minVoters && votes%2 == 1:
		return
	}
	if err := n.promote(ctx, heir); err != nil {
		n.logger.Info("vote not given yet", "to", string(heir.ID), "error", err)
	}
}

// votesOf counts the votes of a cell, and finds a node that has one and has been down for a while, and who could have a
// vote besides: of those that can, the one that is up the longest. Nothing is lost while that one has not been up for
// steady: votes move away from nodes that come and go, once each, and never to one.
func votesOf(view *state.View, canVote func(*state.Node) bool, steady time.Duration) (
	lost, heir *state.Node, votes int) {
	lately := func(node *state.Node, limit time.Duration) bool {
		return view.NowMicros-node.SinceMicros < state.Micros(limit.Microseconds())
	}
	view.Nodes(func(node *state.Node) bool {
		switch {
		case node.Voter:
			votes++
			if node.State == state.NodeDown && !lately(node, voteGrace) {
				lost = node
			}
		case canVote(node) && (heir == nil || node.SinceMicros < heir.SinceMicros):
			heir = node
		}
		return true
	})
	if heir == nil || lately(heir, steady) {
		lost = nil
	}
	return lost, heir, votes
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

// heirOf is the node that gets a vote in place of node's, nil when the others have enough: an odd
// number of at least minVoters. Counted anew each time, so that a round that is repeated because its
// second half failed does not make one more voter. While one that could be it has not been heard of by this node, which
// has only begun to lead, it is waited for: it is heard soon, or called down.
func (n *Node) heirOf(view *state.View, node *state.Node) (*state.Node, error) {
	var heir, unheard *state.Node
	votes := 0
	view.Nodes(func(other *state.Node) bool {
		switch {
		case other.ID == node.ID:
		case other.Voter:
			votes++
		case heir == nil && n.canVote(other):
			heir = other
		case other.Takes():
			unheard = other
		}
		return true
	})
	switch {
	case votes >= minVoters && votes%2 == 1:
		return nil, nil
	case heir == nil && unheard != nil:
		return nil, fmt.Errorf("%s may get the vote, and has not been heard of yet", unheard.ID)
	}
	return heir, nil
}

func (n *Node) moveVote(ctx context.Context, view *state.View, node *state.Node) error {
	if !node.Voter {
		return nil
	}
	if node.ID == n.id {
		return n.log.TransferLeadership(ctx)
	}
	heir, err := n.heirOf(view, node)
	if err != nil {
		return err
	}
	if heir != nil {
		if err := n.promote(ctx, heir); err != nil {
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
