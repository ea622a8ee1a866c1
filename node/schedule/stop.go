package schedule

import (
	"fmt"
	"slices"
	"strings"

	"github.com/datanode/datanode/raftlog/state"
)

// Stop is what a cell is without some of its nodes, for as long as they are stopped. What is unreadable or cannot be
// written to already is not counted: it does not come of the stop.
type Stop struct {
	Voters int // of the cell
	Needed int // votes that must agree
	Votes  int // that are left: of voters that are there and do not stop

	Takers int // nodes that are left and take replicas
	Least  int // on how many of them a new extent must be: see min-replicas
	Full   int // on how many it should be

	Unreadable int // extents of which no whole replica is left
	Unwritable int // open extents that cannot be appended to any more, nor followed by another
	Single     int // extents that want more than one whole replica, and have one left
	Open       int // open extents with a replica on a node that stops: they are sealed, and puts go to others
	// First are the first of those unreadable and unwritable from some ID on, and Next is where there are more; 0:
	// nowhere.
	First []AtStake
	Next  state.ExtentID

	wereVotes, wereTakers int
	givesVote, givesTaker bool // one of those that stop counts there
}

// AtStake is an extent that a stop would make unreadable or unwritable.
type AtStake struct {
	Extent     *state.Extent
	Unreadable bool
	Why        string
}

// Safe reports whether the nodes can be stopped: all that could be read still can, puts go on and the log too.
func (s *Stop) Safe() bool { return len(s.Why()) == 0 }

// Why says, in whole sentences, what would be lost.
func (s *Stop) Why() (all []string) {
	if s.givesVote && s.Votes < s.Needed && s.wereVotes >= s.Needed {
		all = append(all, fmt.Sprintf("%d of %d votes would be left, and %d must agree: the cell would have no leader",
			s.Votes, s.Voters, s.Needed))
	}
	if s.Unreadable > 0 {
		all = append(all, fmt.Sprintf("%d extents could not be read: no whole replica of them would be left", s.Unreadable))
	}
	if s.givesTaker && s.Takers < s.Least && s.wereTakers >= s.Least {
		all = append(all, fmt.Sprintf("puts would be refused: %d nodes would be left that take replicas, and a new extent "+
			"must be on %d at least (min-replicas)", s.Takers, s.Least))
	}
	if s.Unwritable > 0 {
		all = append(all, fmt.Sprintf("%d open extents could not be written to, nor others in their place", s.Unwritable))
	}
	return all
}

// Notes say what becomes worse without being lost.
func (s *Stop) Notes() (all []string) {
	if s.Single > 0 {
		all = append(all, fmt.Sprintf("%d extents would have one whole replica left", s.Single))
	}
	if s.givesTaker && s.Takers < s.Full && s.Takers >= s.Least && s.wereTakers >= s.Full {
		all = append(all, fmt.Sprintf("new extents would be on %d nodes instead of %d", s.Takers, s.Full))
	}
	if s.Open > s.Unwritable {
		all = append(all, fmt.Sprintf("%d open extents have a replica there: they are sealed, and puts go on in others",
			s.Open-s.Unwritable))
	}
	if s.givesVote && s.Votes == s.Needed && s.wereVotes > s.Needed {
		all = append(all, fmt.Sprintf("no further vote could be missed: %d of %d would be left", s.Votes, s.Voters))
	}
	return all
}

// present is what of a node counts before and after a stop.
type present struct {
	stops         bool
	before, after bool // somebody can ask it for bytes
}

// Stopping says what a cell is without nodes. Nodes that are silent are taken for down, although they are not called
// so yet, and so are those that are paused. At most limit extents are named, from an ID on. It looks at every extent,
// and holds none of them but those.
func Stopping(v *state.View, seen Seen, nodes []state.NodeID, from state.ExtentID, limit int) *Stop {
	s := &Stop{Full: int(v.Settings.Replicas), Least: v.Settings.Least(v.Settings.Replicas)}
	there := map[state.NodeID]present{}
	v.Nodes(func(n *state.Node) bool {
		stops := slices.Contains(nodes, n.ID)
		silent := seen.Silent != nil && seen.Silent(n.ID)
		up := n.State == state.NodeUp && !n.Unproven && !silent
		there[n.ID] = present{
			stops: stops, after: up && !stops && !n.IsPaused(), // one that is paused may be stopped at any moment
			// One that is about to come up is stopped before it does.
			before: up || stops && n.State == state.NodeJoining,
		}
		if up {
			s.count(n, stops)
		}
		if n.Voter {
			s.Voters++
		}
		return true
	})
	s.Needed = s.Voters/2 + 1
	v.Extents(0, func(e *state.Extent) bool {
		if e.Written() {
			s.look(v, e, there, from, limit)
		}
		return true
	})
	return s
}

// count counts the vote of a node that is there, and whether it takes replicas.
func (s *Stop) count(n *state.Node, stops bool) {
	takes, stays := n.Mode == state.ModeActive && n.Refuses == "", !stops && !n.IsPaused()
	if n.Voter {
		s.wereVotes++
		s.givesVote = s.givesVote || stops
	}
	if n.Voter && stays {
		s.Votes++
	}
	if takes {
		s.wereTakers++
		s.givesTaker = s.givesTaker || stops
	}
	if takes && stays {
		s.Takers++
	}
}

// look says what a stop does to one extent.
func (s *Stop) look(v *state.View, e *state.Extent, there map[state.NodeID]present, from state.ExtentID, limit int) {
	touched, before, after := false, 0, 0
	any := e.Whole() == 0 // what is left of a damaged one is served by whoever has it
	for _, r := range e.Replicas {
		p := there[r.Node]
		touched = touched || p.stops
		if r.State != state.ReplicaWhole && !any {
			continue
		}
		if p.before {
			before++
		}
		if p.after {
			after++
		}
	}
	if !touched {
		return
	}
	open := e.State == state.ExtentOpen
	if open {
		s.Open++
	}
	lost := before > 0 && after == 0
	stuck := open && !lost && s.Takers < v.Settings.Least(e.Want) && s.wereTakers >= v.Settings.Least(e.Want)
	switch {
	case lost:
		s.Unreadable++
	case stuck:
		s.Unwritable++
	case after == 1 && before > 1 && e.Want > 1:
		s.Single++
		return
	default:
		return
	}
	switch {
	case e.ID < from:
	case len(s.First) < limit:
		s.First = append(s.First, AtStake{Extent: e, Unreadable: lost, Why: whyAtStake(v, e, there, lost)})
	case s.Next == 0:
		s.Next = e.ID
	}
}

// whyAtStake says where each replica is.
func whyAtStake(v *state.View, e *state.Extent, there map[state.NodeID]present, lost bool) string {
	var all []string
	for _, r := range e.Replicas {
		p := there[r.Node]
		text := string(r.Node)
		switch n := v.Node(r.Node); {
		case p.stops:
			text += " stops"
		case n == nil:
			text += " is unknown"
		case n.State != state.NodeUp:
			text += " is " + n.State.String()
		case n.Unproven:
			text += " is not proven"
		case n.IsPaused():
			text += " is paused"
		case !p.after:
			text += " is silent"
		case r.State == state.ReplicaSuspect:
			text += " has a suspect one"
		default:
			text += " has one"
		}
		all = append(all, text)
	}
	text := "its replicas: " + strings.Join(all, ", ")
	if !lost {
		text += "; too few nodes would be left to write elsewhere"
	}
	return text
}
