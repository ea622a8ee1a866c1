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
	if c.Executor != "" && s.Node(c.Executor) == nil {
		return refused(wire.CodeNotFound, "there is no node %s to carry out operation %s", c.Executor, c.Op)
	}
	if res := s.checkSerial(o); res.Err != nil {
		return res
	}
	if res := s.checkStart(o, c); res.Err != nil {
		return res
	}
	o = o.clone()
	if o.Fence != 0 && o.Target != "" && o.Target != c.Target {
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

// startAtOnce starts an operation in the entry that has just admitted it, and reports whether it did. What cannot start
// stays queued, as if it had not been tried: the leader starts it when it may.
//
// The leader asks for it where no other operation could come before this one, so that the policy's order is the same as
// with an entry of its own for the start. What may have changed since it looked is checked here: what the operation
// waits for, and how many run. Only of creates and deletes can nothing else be in the way: neither where they are
// carried out is chosen when they start, nor do quiet windows and settings hold them back.
func (s *State) startAtOnce(at moment, o *Op) bool {
	c := &Start{Op: o.ID}
	switch o.Kind {
	case policies.KindCreate:
		if s.busy() >= int(s.Settings.MaxRunning) {
			return false
		}
		c.Executor = s.Extent(o.Extent).Primary()
	case policies.KindDelete:
	default:
		return false
	}
	return s.start(at, c).Err == nil
}

// busy is how many running operations max-running counts.
func (s *State) busy() int {
	n := 0
	for _, k := range []policies.Kind{policies.KindCreate, policies.KindSeal, policies.KindRepair, policies.KindMove} {
		n += s.kinds[k].Running
	}
	return n
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

// checkStart makes sure that the extent is in the state that the operation is for.
func (s *State) checkStart(o *Op, c *Start) Result {
	var need ExtentState
	switch o.Kind {
	case policies.KindCreate:
		need = ExtentCreating
	case policies.KindSeal:
		need = ExtentOpen
	case policies.KindRepair, policies.KindMove:
		return s.checkCopy(o, c)
	case policies.KindDelete:
		if o.GraceMicros == 0 {
			return Result{}
		}
		need = ExtentSealed
	case policies.KindPunch:
		return s.checkRewriting(o, c)
	default:
		return Result{}
	}
	if e := s.Extent(o.Extent); e == nil || e.State != need {
		return stale("extent %d is not %s", o.Extent, need)
	}
	return Result{}
}

// checkCopy makes sure that a copy reads from a whole replica, does not write over one, and takes
// the place of none that the extent needs.
func (s *State) checkCopy(o *Op, c *Start) Result {
	if o.Named && c.Target != o.Target {
		return stale("operation %s goes to node %s and no other, not to %s", o.ID, o.Target, c.Target)
	}
	e := s.Extent(o.Extent)
	if e == nil || !e.Copyable(o.Kind) {
		return stale("extent %d is not sealed", o.Extent)
	}
	if e.Damaged {
		return stale("extent %d is damaged: nothing is copied over what its replicas hold", o.Extent)
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
	return s.checkReplaces(o, c, e)
}

// checkReplaces: a move takes the place of the replica on the node that it empties, on a node that
// has none. A repair may take the place of one that is suspect or not up, or mend one in place.
func (s *State) checkReplaces(o *Op, c *Start, e *Extent) Result {
	_, holds := e.Replica(c.Target)
	if o.Kind == policies.KindMove && (c.Replaces != o.Node || holds) {
		return stale("a move of extent %d from node %s replaces that replica with one on a node that has none", e.ID, o.Node)
	}
	if c.Replaces == "" {
		return Result{}
	}
	r, ok := e.Replica(c.Replaces)
	if !ok {
		return stale("node %s has no replica of extent %d to replace", c.Replaces, e.ID)
	}
	if o.Kind == policies.KindMove {
		return Result{}
	}
	if holds {
		return stale("a repair of extent %d in place on node %s replaces no other replica", e.ID, c.Target)
	}
	if n := s.Node(c.Replaces); r.State == ReplicaWhole && n != nil && n.State == NodeUp {
		return stale("the replica of extent %d on node %s is whole and up", e.ID, c.Replaces)
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
		if o.GraceMicros != 0 {
			s.keepExtent(at, o)
		} else {
			s.buryExtent(at, o.Extent)
		}
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

const scoredAgain = "scored again: "

// rescored notes a new priority. The step before gives way if it says the same: an operation is scored again
// as long as it waits, which must not push out its other steps.
func (o *Op) rescored(at moment, note string) {
	if last := len(o.Steps) - 1; last > 0 && o.Steps[last].Note == note {
		o.Steps = o.Steps[:last]
	}
	o.step(at, note)
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
	before := o.Decision
	o.Decision = c.Decision
	o.Decision.Conflicts = before.Conflicts
	if before.Priority != c.Decision.Priority {
		o.rescored(at, clip(scoredAgain+c.Decision.Reason))
	}
	s.putOp(o)
	return Result{Op: o.ID, Extent: o.Extent}
}
