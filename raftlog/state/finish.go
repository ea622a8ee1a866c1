package state

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
)

// finish ends an attempt. What comes late, under an old fence, changes nothing.
func (s *State) finish(at moment, c *Finish) Result {
	o := s.Op(c.Op)
	if o == nil || o.State != OpRunning || o.Fence != c.Fence {
		return refused(wire.CodeNotRunning, "operation %s is not running under fence %d", c.Op, c.Fence)
	}
	if o.Kind == policies.KindDelete { // it has taken effect: neither fails nor starts over
		return refused(wire.CodeInvalid, "a delete ends when its files are confirmed gone")
	}
	detail := c.Detail
	switch c.Outcome {
	case OutcomeDone:
		return s.finishDone(at, o, c)
	case OutcomeRetry:
		if o.Attempts < s.Settings.MaxAttempts {
			return s.requeue(at, o, detail)
		}
		detail = fmt.Sprintf("gave up after %d attempts: %s", o.Attempts, detail)
	case OutcomeFail:
	default:
		return refused(wire.CodeInvalid, "an attempt ends done, with a retry or failed, not with outcome %d", c.Outcome)
	}
	s.endOp(at, o.ID, OpFailed, 0, detail)
	return Result{Op: o.ID, Extent: o.Extent}
}

// requeue gives an operation another attempt after a pause that doubles each time.
func (s *State) requeue(at moment, o *Op, why string) Result {
	o = o.clone()
	o.State, o.Detail = OpQueued, clip(why)
	pause := s.Settings.BackoffMicros << min(o.Attempts-1, 10)
	o.NotBeforeMicros = at.now + pause
	o.step(at, "attempt failed: "+why)
	s.putOp(o)
	return Result{Op: o.ID, Extent: o.Extent}
}

func (s *State) finishDone(at moment, o *Op, c *Finish) Result {
	note := "done"
	switch o.Kind {
	case policies.KindCreate:
		e := s.Extent(o.Extent).clone()
		e.State = ExtentOpen
		e.Gen++
		s.putExtent(e)
	case policies.KindSeal:
		if res := s.sealExtent(o, c); res.Err != nil {
			return res
		}
		note = fmt.Sprintf("sealed at %d bytes", c.Length)
		if c.Damaged {
			note = fmt.Sprintf("damaged: no replica has all of the %d bytes, something from byte %d on is lost", c.Length,
				c.DamagedFrom)
		}
	case policies.KindRepair, policies.KindMove:
		s.placeCopy(at, o)
		note = "whole replica on " + string(o.Target)
	case policies.KindPunch:
		note = cmp.Or(c.Detail, "rewritten")
	case policies.KindDecommission:
		if res := s.emptied(o.Node); res.Err != nil {
			return res
		}
		note = "node " + string(o.Node) + " holds nothing and has no vote: safe to remove"
	}
	s.endOp(at, o.ID, OpDone, 0, note)
	return Result{Op: o.ID, Extent: o.Extent}
}

// emptied ends a decommission's work, if the node has nothing left and nothing on its way to it.
func (s *State) emptied(id NodeID) Result {
	n := s.Node(id)
	if held := s.CountReplicas(id); held > 0 || n.Voter {
		return stale("node %s still has %d replicas, vote %t", id, held, n.Voter)
	}
	var res Result
	s.Running(func(o *Op) bool {
		if o.Copies() && o.Target == id {
			res = stale("operation %s still copies to node %s", o.ID, id)
		}
		return res.Err == nil
	})
	if res.Err != nil {
		return res
	}
	n = n.clone()
	n.Mode = ModeDecommissioned
	s.nodes.Set(id, n)
	return Result{}
}

// placeCopy makes the target of a finished copy a whole replica, in place of another where the
// start said so.
func (s *State) placeCopy(at moment, o *Op) {
	e := s.Extent(o.Extent).clone()
	e.setReplica(o.Target, ReplicaWhole)
	e.mended()
	if o.Replaces != "" && o.Replaces != o.Target {
		e.retire(at, o.Replaces)
	}
	e.Gen++
	s.putExtent(e)
}

// canEnd reports whether an open operation may be ended early. A delete that has taken effect and a
// seal that may have fenced its replicas must run to their end.
func (s *State) canEnd(id OpID) bool {
	o := s.Op(id)
	if o == nil || o.State.Ended() {
		return false
	}
	return o.State == OpQueued || o.Copies() || o.Kind == policies.KindPunch || o.Kind == policies.KindDecommission
}

// endOp ends an operation, done or not, and lets go of what it held.
func (s *State) endOp(at moment, id OpID, st OpState, by OpID, note string) {
	o := s.Op(id).clone()
	o.State, o.By, o.EndedMicros, o.EndedIndex = st, by, at.now, at.index
	if st != OpDone {
		o.Detail = clip(note)
	}
	o.step(at, note)
	s.putOp(o)
	isThis := func(other OpID) bool { return other == id }
	if e := s.Extent(o.Extent); e != nil {
		e = e.clone()
		e.Ops = slices.DeleteFunc(e.Ops, isThis)
		e.Gen++
		s.putExtent(e)
	}
	if o.Extent == 0 {
		if n := s.Node(o.Node); n != nil {
			n = n.clone()
			n.Ops = slices.DeleteFunc(n.Ops, isThis)
			s.nodes.Set(n.ID, n)
		}
	}
	if st != OpDone {
		s.undo(at, o)
	}
}

// undo clears what an operation that did not succeed may have left.
func (s *State) undo(at moment, o *Op) {
	switch o.Kind {
	case policies.KindRepair, policies.KindMove:
		if o.Target != "" && o.Fence != 0 {
			s.retireUnlessHeld(at, o.Extent, o.Target)
		}
	case policies.KindCreate:
		s.abandonExtent(at, o)
	case policies.KindDecommission:
		s.stopDecommission(at, o)
	}
}

// retireUnlessHeld makes a node drop what a copy left there, unless it is a replica all the same.
func (s *State) retireUnlessHeld(at moment, id ExtentID, node NodeID) {
	e := s.Extent(id)
	if e == nil {
		return
	}
	if _, holds := e.Replica(node); holds || s.Node(node) == nil { // a removed node confirms nothing
		return
	}
	e = e.clone()
	e.retire(at, node)
	e.Gen++
	s.putExtent(e)
}

// stopDecommission makes the node active again and ends the moves that belong to the decommission.
func (s *State) stopDecommission(at moment, o *Op) {
	if n := s.Node(o.Node); n != nil && n.Decommission == o.ID {
		n = n.clone()
		n.Mode, n.Decommission = ModeActive, 0
		s.nodes.Set(n.ID, n)
	}
	var moves []OpID
	s.ReplicasOn(o.Node, func(e *Extent) bool {
		for _, id := range e.Ops {
			if m := s.Op(id); m.Parent == o.ID && s.canEnd(id) {
				moves = append(moves, id)
			}
		}
		return true
	})
	for _, id := range moves {
		s.endOp(at, id, OpCancelled, o.ID, "its decommission ended")
	}
}

func (s *State) cancel(at moment, c *Cancel) Result {
	o := s.Op(c.Op)
	switch {
	case o == nil:
		return refused(wire.CodeNotFound, "there is no operation %s", c.Op)
	case o.State.Ended():
		return refused(wire.CodePrecondition, "operation %s has ended: %s", c.Op, o.State)
	case !s.canEnd(c.Op), o.Kind == policies.KindSeal && o.Fence != 0:
		return refused(wire.CodePrecondition, "a %s that has started cannot be cancelled: it has taken effect", o.Kind)
	}
	s.endOp(at, c.Op, OpCancelled, 0, c.Note)
	return Result{Op: c.Op, Extent: o.Extent}
}
