package schedule

import (
	"slices"
	"time"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

const (
	// needsAtOnce bounds the operations of one look, and so how much of a large plan is queued at a time.
	needsAtOnce = 256
	// movesAhead is how many moves of one decommission may be open. More would only grow the queue.
	movesAhead = 512
)

// Needs is what one look at the state finds wanting: the operations that nobody asks for by name. Repairs of extents
// that lost replicas, other than those of paused nodes, seals of open extents whose replicas are not all there, the
// moves of a decommission, deletes of extents of which every byte is deleted.
type Needs struct {
	Wanted  []Need
	Emptied []*state.Node // decommissioning nodes that hold nothing any more
	// Balanced: what was to be balanced once is.
	Balanced bool
}

// Need is an operation that the cell itself asks for.
type Need struct {
	Kind   policies.Kind
	Extent state.ExtentID
	From   state.NodeID // whose replica a move takes
	To     state.NodeID // the one node that a move may go to; empty: any
	Origin policies.Origin
	Parent state.OpID // the decommission that it is a part of
	Urgent bool
}

// NeedsOf looks at a state, whose view says what time it is. patience is how long an open extent may lack replicas
// although a node takes some: that node did not answer just now, and will be called down if it goes on so. Sealed at
// once, the next would be made without it, too.
func NeedsOf(view *state.View, patience time.Duration) Needs {
	s := &search{view: view, patience: state.Micros(patience.Microseconds())}
	s.repairs()
	s.hollow()
	s.handOn()
	s.view.Nodes(func(node *state.Node) bool {
		if node.State == state.NodeDown {
			s.sealOn(node)
		}
		if node.Mode == state.ModeDecommissioning {
			s.empty(node)
		}
		return true
	})
	s.balance()
	return s.found
}

// search collects needs.
type search struct {
	view     *state.View
	patience state.Micros
	found    Needs
}

func (s *search) full() bool { return len(s.found.Wanted) >= needsAtOnce }

// urgent reports whether a decommission's moves wait for no quiet window, as it does not.
func (s *search) urgent(decommission state.OpID) bool {
	o := s.view.Op(decommission)
	return o != nil && o.Urgent
}

// hurries reports whether an urgent decommission would wait for a move that is not. One more is merged into it, and
// makes it urgent.
func (s *search) hurries(decommission state.OpID, e *state.Extent) bool {
	if !s.urgent(decommission) || s.open(e, policies.KindDelete) {
		return false
	}
	return !slices.ContainsFunc(e.Ops, func(id state.OpID) bool {
		o := s.view.Op(id)
		return o.Kind == policies.KindMove && (o.Urgent || o.State == state.OpRunning)
	})
}

func (s *search) want(n Need) {
	n.Urgent = s.urgent(n.Parent)
	s.found.Wanted = append(s.found.Wanted, n)
}

// open reports whether an operation that would be in the way, or is the very one, is open on e.
func (s *search) open(e *state.Extent, kinds ...policies.Kind) bool {
	return slices.ContainsFunc(e.Ops, func(id state.OpID) bool { return slices.Contains(kinds, s.view.Op(id).Kind) })
}

// repairs finds sealed extents with too few whole replicas: known to be damaged, or on a node that
// has been down for longer than the repair delay. An open one that was made with too few is sealed as soon as a
// node could take another, and one with a suspect replica at once: only sealed ones are repaired, and its puts go on in
// one that lacks none.
func (s *search) repairs() {
	visit := func(e *state.Extent) bool {
		if e.State == state.ExtentSealed && s.canRepair(e) &&
			!s.open(e, policies.KindRepair, policies.KindMove, policies.KindDelete) {
			s.want(Need{Kind: policies.KindRepair, Extent: e.ID, Origin: policies.OriginCell})
		}
		return !s.full()
	}
	s.view.Lacking(func(e *state.Extent) bool {
		waited := s.view.NowMicros-e.CreatedMicros > s.patience
		if e.State == state.ExtentOpen && (waited && s.hasTaker(e) || !e.Fit()) {
			s.seal(e, policies.OriginCell)
		}
		return visit(e)
	})
	s.view.Nodes(func(node *state.Node) bool {
		// What a paused node alone has too few of is to come back: see canRepair.
		down := node.State == state.NodeDown && !node.IsPaused() &&
			s.view.NowMicros-node.SinceMicros > s.view.Settings.RepairDelayMicros
		if down && !s.full() {
			s.view.ReplicasOn(node.ID, visit)
		}
		return true
	})
}

// hollow deletes what has nothing left: as ranges its bytes are deleted already, and only so its files go.
func (s *search) hollow() {
	s.view.EachHollow(func(e *state.Extent) bool {
		if !s.open(e, policies.KindDelete) {
			s.want(Need{Kind: policies.KindDelete, Extent: e.ID, Origin: policies.OriginCell})
		}
		return !s.full()
	})
}

// seal wants a seal of an open extent that is neither being sealed nor deleted.
func (s *search) seal(e *state.Extent, origin policies.Origin) {
	if !s.open(e, policies.KindSeal, policies.KindDelete) {
		s.want(Need{Kind: policies.KindSeal, Extent: e.ID, Origin: origin})
	}
}

// canRepair reports whether a repair could start: something to read, and somewhere to write. One that
// could not would only stand in the queue, in the way of moves and seals.
func (s *search) canRepair(e *state.Extent) bool {
	live := s.view.Live(e)
	return live > 0 && s.view.Expected(e) < int(e.Want) && !e.Damaged && s.hasTaker(e)
}

// hasTaker reports whether some node can be given a replica of e, or have its suspect one mended.
func (s *search) hasTaker(e *state.Extent) bool {
	has := false
	s.view.Nodes(func(node *state.Node) bool {
		r, holds := e.Replica(node.ID)
		_, former := e.FormerSince(node.ID)
		has = node.Takes() && !former && (!holds || r.State == state.ReplicaSuspect)
		return !has
	})
	return has
}

// sealOn seals the open extents of a node that is down: they cannot be appended to any more, and
// only sealed ones are repaired.
func (s *search) sealOn(node *state.Node) {
	s.view.ReplicasOn(node.ID, func(e *state.Extent) bool {
		if e.State == state.ExtentOpen {
			s.seal(e, policies.OriginCell)
		}
		return !s.full()
	})
}

// empty moves the replicas of a decommissioning node away, open extents after they are sealed.
func (s *search) empty(node *state.Node) {
	held, moving := 0, 0
	s.view.ReplicasOn(node.ID, func(e *state.Extent) bool {
		held++
		switch {
		case s.open(e, policies.KindMove, policies.KindDelete) && !s.hurries(node.Decommission, e):
			moving++
		case e.State == state.ExtentOpen:
			s.seal(e, policies.OriginDecommission)
		case e.Copyable(policies.KindMove) && !e.Damaged:
			s.want(Need{
				Kind: policies.KindMove, Extent: e.ID, From: node.ID,
				Origin: policies.OriginDecommission, Parent: node.Decommission,
			})
			moving++
		}
		return !s.full() && moving < movesAhead
	})
	dropping := 0
	if node.State == state.NodeUp {
		s.view.DropsOn(node.ID, func(*state.Extent) bool { dropping++; return false })
	}
	if held == 0 && dropping == 0 && s.decommissionRuns(node) {
		s.found.Emptied = append(s.found.Emptied, node)
	}
}

func (s *search) decommissionRuns(node *state.Node) bool {
	o := s.view.Op(node.Decommission)
	return o != nil && o.State == state.OpRunning
}
