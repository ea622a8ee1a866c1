package schedule

import (
	"fmt"
	"time"

	"github.com/datanode/datanode/raftlog/state"
)

const (
	// minVotes is how many votes a cell wants before further nodes only follow.
	minVotes = 3
	// VoteGrace is how long a node is down before its vote goes to another: one that is only started anew keeps it, and
	// so does one that is paused.
	VoteGrace = 3 * time.Second
)

// Votes are those of a cell at one moment.
type Votes struct {
	Count     int
	Lost      *state.Node // has a vote, and has been down for a while; nil: none, or its vote stays for now
	Candidate *state.Node // could have a vote besides: of those that can, the one that is up the longest; nil: nobody
}

// Enough reports whether the cell wants no further vote: an odd number of at least three.
func (v *Votes) Enough() bool { return enoughVotes(v.Count) }

func enoughVotes(count int) bool { return count >= minVotes && count%2 == 1 }

// VotesOf counts the votes of a cell whose view says what time it is. canVote reports whether a node may be given one.
// Nothing is lost while the candidate has not been up for steady: votes move away from nodes that come and go, once
// each, and never to one.
func VotesOf(view *state.View, canVote func(*state.Node) bool, steady time.Duration) (v Votes) {
	lately := func(node *state.Node, limit time.Duration) bool {
		return view.NowMicros-node.SinceMicros < state.Micros(limit.Microseconds())
	}
	view.Nodes(func(node *state.Node) bool {
		switch {
		case node.Voter:
			v.Count++
			if node.State == state.NodeDown && !node.IsPaused() && !lately(node, VoteGrace) {
				v.Lost = node
			}
		case canVote(node) && (v.Candidate == nil || node.SinceMicros < v.Candidate.SinceMicros):
			v.Candidate = node
		}
		return true
	})
	if v.Candidate == nil || lately(v.Candidate, steady) {
		v.Lost = nil
	}
	return v
}

// Successor is the node that gets a vote in place of node's, nil when the others have enough. Counted anew each time,
// so that a round that is repeated because its second half failed does not make one more voter. While one that could
// be it cannot be given a vote yet, it is waited for: that is the error.
func Successor(view *state.View, node *state.Node, canVote func(*state.Node) bool) (*state.Node, error) {
	var successor, unheard *state.Node
	votes := 0
	view.Nodes(func(other *state.Node) bool {
		switch {
		case other.ID == node.ID:
		case other.Voter:
			votes++
		case successor == nil && canVote(other):
			successor = other
		case other.Takes():
			unheard = other
		}
		return true
	})
	switch {
	case enoughVotes(votes):
		return nil, nil
	case successor == nil && unheard != nil:
		return nil, fmt.Errorf("%s may get the vote, and has not been heard of yet", unheard.ID)
	}
	return successor, nil
}
