package state

import (
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
)

// start lets a queued operation run under a new fence, if it still may.
func (s *State) start(at moment, c *Start) Result {
	o := s.Op(c.Op)
	if o == nil || o.State != OpQueued {
		return stale("operation %s is not queued", c.Op)
	}
	for _, w := range o.Waits {
		if other := s.Op(w); other != nil && !other.State.Ended() {
			return stale("operation %s waits for %s", c.Op, w)
		}
	}
	if at.now < o.NotBeforeMicros {
		return stale("operation %s pauses before its next attempt", c.Op)
	}
	if o.Copies() {
		if res := s.checkCopy(o, c); res.Err != nil {
			return res
		}
	}
	o = o.clone()
	if o.Target != "" && o.Target != c.Target {
		s.retireUnlessHeld(at, o.Extent, o.Target)
	}
	o.State, o.Fence, o.Attempts = OpRunning, Fence(at.index), o.Attempts+1
	o.Source, o.Target, o.Executor, o.Replaces = c.Source, c.Target, c.Executor, c.Replaces
	o.Detail = ""
	o.step(at, startNote(c))
	s.putOp(o)
	s.begin(at, o)
	return Result{Op: o.ID, Extent: o.Extent}
}

func startNote(c *Start) string {
	switch {
	case c.Source != "":
		return "started: copy from " + string(c.Source) + " to " + string(c.Target)
	case c.Executor != "":
		return "started on " + string(c.Executor)
	}
	return "started"
}

// checkCopy makes sure that a copy reads from a whole replica and does not write over one.
func (s *State) checkCopy(o *Op, c *Start) Result {
	e := s.Extent(o.Extent)
	if e == nil || e.State != ExtentSealed {
		return stale("extent %d is not sealed", o.Extent)
	}
	if r, ok := e.Replica(c.Source); !ok || r.State != ReplicaWhole {
		return stale("node %s has no whole replica of extent %d", c.Source, o.Extent)
	}
	if r, ok := e.Replica(c.Target); ok && r.State == ReplicaWhole {
		return stale("node %s already has a whole replica of extent %d", c.Target, o.Extent)
	}
	if _, former := e.FormerSince(c.Target); former {
		return stale("node %s has yet to drop its old file of extent %d", c.Target, o.Extent)
	}
	if n := s.Node(c.Target); n == nil || !n.Takes() {
		return stale("node %s takes no replicas", c.Target)
	}
	return Result{}
}

// begin is what a start itself does to the state.
func (s *State) begin(at moment, o *Op) {
	switch o.Kind {
	case policies.KindCreate:
		e := s.Extent(o.Extent).clone()
		e.Epoch = o.Fence
		s.putExtent(e)
	case policies.KindDelete:
		s.deleteExtent(at, o)
	case policies.KindDecommission:
		n := s.Node(o.Node).clone()
		n.Mode, n.Decommission = ModeDecommissioning, o.ID
		s.nodes.Set(n.ID, n)
	case policies.KindRecommission:
		n := s.Node(o.Node).clone()
		n.Mode, n.Decommission = ModeActive, 0
		s.nodes.Set(n.ID, n)
		s.endOp(at, o.ID, OpDone, 0, "node "+string(o.Node)+" takes replicas again")
	}
}

// rescore gives a queued operation a new priority.
func (s *State) rescore(at moment, c *Rescore) Result {
	o := s.Op(c.Op)
	if o == nil || o.State != OpQueued {
		return stale("operation %s is not queued", c.Op)
	}
	if c.Decision.Epoch != s.PolicyEpoch {
		return stale("scored under policy epoch %d, now it is %d", c.Decision.Epoch, s.PolicyEpoch)
	}
	o = o.clone()
	conflicts := o.Decision.Conflicts
	o.Decision = c.Decision
	o.Decision.Conflicts = conflicts
	o.step(at, "scored again: "+c.Decision.Reason)
	s.putOp(o)
	return Result{Op: o.ID}
}

// join records a node. The leader checks that two nodes do not use one ID.
func (s *State) join(at moment, c *Join) Result {
	if c.Node == "" || c.Addr == "" {
		return refused(wire.CodeInvalid, "a node needs an ID and an address")
	}
	n := &Node{ID: c.Node, State: NodeJoining, Mode: ModeActive, SinceMicros: at.now}
	if old := s.Node(c.Node); old != nil {
		n = old.clone()
	}
	if n.Incarnation != c.Incarnation && n.State == NodeUp {
		n.State, n.SinceMicros = NodeJoining, at.now
	}
	n.Addr, n.Incarnation, n.Voter = c.Addr, c.Incarnation, c.Voter
	s.nodes.Set(n.ID, n)
	return Result{}
}

func (s *State) setNodeState(at moment, c *SetNodeState) Result {
	n := s.Node(c.Node)
	switch {
	case n == nil:
		return refused(wire.CodeNotFound, "there is no node %s", c.Node)
	case c.State == NodeUp && n.Incarnation != c.Incarnation:
		return stale("node %s has restarted", c.Node)
	case n.State == c.State:
		return Result{}
	}
	n = n.clone()
	n.State, n.SinceMicros = c.State, at.now
	s.nodes.Set(n.ID, n)
	if c.State == NodeDown {
		s.settleDeletes(at, n.ID)
	}
	return Result{}
}

func (s *State) setVoter(c *SetVoter) Result {
	n := s.Node(c.Node)
	if n == nil {
		return refused(wire.CodeNotFound, "there is no node %s", c.Node)
	}
	n = n.clone()
	n.Voter = c.Voter
	s.nodes.Set(n.ID, n)
	return Result{}
}
