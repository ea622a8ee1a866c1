package state

import (
	"slices"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
)

// sealExtent fixes length and sum. Replicas that did not confirm them are suspect until repaired; at least one must
// have, or there would be nothing to repair from and the extent is damaged.
func (s *State) sealExtent(o *Op, c *Finish) Result {
	confirmed := func(r Replica) bool { return slices.Contains(c.Confirmed, r.Node) }
	e := s.Extent(o.Extent).clone()
	if slices.ContainsFunc(e.Replicas, confirmed) == c.Damaged {
		return refused(wire.CodeInvalid,
			"a seal of extent %d must be confirmed by one of its replicas, or by none if it is damaged, not by %v", e.ID,
			c.Confirmed)
	}
	e.State, e.Length, e.Sum = ExtentSealed, c.Length, c.Sum
	s.fillHoles(e, c.Length) // what was never written to is no hole
	e.Damaged = c.Damaged
	if c.Damaged {
		e.Sum, e.DamagedFrom, e.DamagedTo = 0, min(c.DamagedFrom, c.Length), c.Length
	}
	e.Gen++
	for i, r := range e.Replicas {
		e.Replicas[i].State = ReplicaWhole
		if !confirmed(r) {
			e.Replicas[i].State = ReplicaSuspect
		}
	}
	s.putExtent(e)
	return Result{}
}

// suspect takes a damaged replica out of the count. The last whole one of a sealed extent stays, since a read that
// fails is better than none to try; with it the extent is damaged.
func (s *State) suspect(c *Suspect) Result {
	e := s.Extent(c.Extent)
	if e == nil || !e.Final() && (e.State != ExtentOpen || !c.Always) {
		return refused(wire.CodePrecondition, "extent %d is not sealed", c.Extent)
	}
	r, ok := e.Replica(c.Node)
	if !ok || r.State == ReplicaSuspect {
		return Result{}
	}
	last := e.Final() && e.Whole() == 1
	if last && !c.Always {
		return refused(wire.CodePrecondition, "node %s has the last replica of extent %d that is not known to be damaged",
			c.Node, c.Extent)
	}
	if last && e.Damaged && e.DamagedFrom <= c.From {
		return Result{}
	}
	e = e.clone()
	if last {
		e.Damaged, e.DamagedFrom, e.DamagedTo = true, min(c.From, e.Length), e.Length
	} else {
		e.setReplica(c.Node, ReplicaSuspect)
	}
	e.Gen++
	s.putExtent(e)
	return Result{}
}

// mended is called when a replica has become whole: nothing is lost any more.
func (e *Extent) mended() { e.Damaged, e.DamagedFrom, e.DamagedTo = false, 0, 0 }

// proven makes a replica whole that was read in full.
func (s *State) proven(at moment, c *Proven) Result {
	e := s.Extent(c.Extent)
	if e == nil || !e.Final() {
		return refused(wire.CodePrecondition, "extent %d is not sealed", c.Extent)
	}
	r, ok := e.Replica(c.Node)
	if !ok {
		return stale("node %s has no replica of extent %d", c.Node, c.Extent)
	}
	same := e.Whole() > 0 && c.Length == e.Length && c.Sum == e.Sum
	grows := c.Length > e.Length && c.Floor > e.Length
	switch {
	case same && r.State == ReplicaWhole && !e.Damaged:
		return Result{}
	case same, e.Whole() == 0 && c.Length >= e.Length, grows && c.Floor <= c.Length:
	default:
		return refused(wire.CodePrecondition,
			"extent %d has %d bytes with sum %08x; node %s has %d with sum %08x, of which it knows %d to be acknowledged",
			e.ID, e.Length, e.Sum, c.Node, c.Length, c.Sum, c.Floor)
	}
	s.endCopies(at, e)
	e = s.Extent(c.Extent).clone()
	if e.Damaged || !same {
		// Whatever the others have, it is not all of this.
		for i := range e.Replicas {
			e.Replicas[i].State = ReplicaSuspect
		}
	}
	e.Length, e.Sum = c.Length, c.Sum
	e.setReplica(c.Node, ReplicaWhole)
	e.mended()
	e.Gen++
	s.putExtent(e)
	return Result{}
}

// endCopies ends the copies of an extent that is going to be another, or to one of its nodes. Those that are still
// needed are planned anew.
func (s *State) endCopies(at moment, e *Extent) {
	for _, id := range slices.Clone(e.Ops) {
		if o := s.Op(id); o.Kind == policies.KindRepair || o.Kind == policies.KindMove {
			s.endOp(at, id, OpCancelled, 0, "a replica has proved to be whole")
		}
	}
}
