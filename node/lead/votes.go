package lead

import (
	"context"

	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/raftlog/state"
)

// keepVotes gives the vote of a node that is down to one that is there, and a cell that has too few votes, or an even
// number, another one, if a node can have it: a decommission may have found no successor, and the node that comes
// back, or a new one, is it. A node that comes back without its vote follows the log until another is lost.
func (m *members) keepVotes(ctx context.Context, view *state.View) {
	ctx, cancel := context.WithTimeout(ctx, m.times.StepLimit)
	defer cancel()
	if err := m.reconcileVotes(ctx, view); err != nil {
		m.logger.Info("votes not recorded yet", "error", err)
		return
	}
	votes := schedule.VotesOf(view, m.canVote, 2*m.times.DownAfter)
	lost, candidate := votes.Lost, votes.Candidate
	switch {
	case candidate == nil:
		return
	case lost != nil && m.watch.ledFor(m.times.DownAfter+schedule.VoteGrace):
		m.logger.Warn("a vote goes to another node", "from", string(lost.ID), "to", string(candidate.ID))
		// Taken first: that needs nobody whom the cell does not need already. With one vote more, of which one is
		// nobody's, the candidate would be needed to agree on anything before it has the log.
		if err := m.demote(ctx, lost); err != nil {
			m.logger.Info("vote not taken yet", "from", string(lost.ID), "error", err)
			return
		}
	case votes.Enough():
		return
	}
	if err := m.promote(ctx, candidate); err != nil {
		m.logger.Info("vote not given yet", "to", string(candidate.ID), "error", err)
	}
}

// canVote reports whether a node may be given a vote. One that is only said to be up, and was not heard of since this
// node leads, may be gone: with its vote the cell could need it to agree on anything.
func (m *members) canVote(node *state.Node) bool {
	return node.Takes() && (node.ID == m.id || m.watch.alive(node.ID))
}

// promote gives a node a vote, in the group and then in the state.
func (m *members) promote(ctx context.Context, node *state.Node) error {
	if err := m.log.AddVoter(ctx, node.ID, node.Addr); err != nil {
		return err
	}
	return m.propose(ctx, &state.SetVoter{Node: node.ID, Voter: true})
}

func (m *members) moveVote(ctx context.Context, view *state.View, node *state.Node) error {
	if !node.Voter {
		return nil
	}
	if node.ID == m.id {
		return m.log.TransferLeadership(ctx)
	}
	successor, err := schedule.Successor(view, node, m.canVote)
	if err != nil {
		return err
	}
	if successor != nil {
		if err := m.promote(ctx, successor); err != nil {
			return err
		}
	}
	return m.demote(ctx, node)
}

// demote takes a node's vote, in the group and then in the state.
func (m *members) demote(ctx context.Context, node *state.Node) error {
	if err := m.log.Demote(ctx, node.ID); err != nil {
		return err
	}
	return m.propose(ctx, &state.SetVoter{Node: node.ID})
}

// reconcileVotes records what the log's group says of votes where the state says otherwise: whoever gave or took them
// did not get to say so.
func (m *members) reconcileVotes(ctx context.Context, view *state.View) error {
	servers, err := m.log.Servers()
	if err != nil {
		return err
	}
	voters := map[state.NodeID]bool{}
	for _, s := range servers {
		voters[s.ID] = s.Voter
	}
	var cmds []state.Command
	view.Nodes(func(node *state.Node) bool {
		switch {
		case node.Voter && node.State == state.NodeDown && !voters[node.ID]:
			cmds = append(cmds, &state.SetVoter{Node: node.ID})
		case !node.Voter && voters[node.ID]:
			cmds = append(cmds, &state.SetVoter{Node: node.ID, Voter: true})
		}
		return true
	})
	if len(cmds) == 0 {
		return nil
	}
	return m.propose(ctx, cmds...)
}
