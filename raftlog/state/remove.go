package state

import (
	"slices"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
)

// removeNode forgets a node. Were it remembered for ever, so would be the tombstones of all the files that it
// never confirmed gone. A node that comes back all the same is not known any more, and not admitted with its
// old folder, so that none of those files can be taken for an extent's.
func (s *State) removeNode(at moment, c *RemoveNode) Result {
	if res := s.Removable(c); res.Err != nil {
		return res
	}
	if c.Forced {
		s.takeOff(at, c.Node)
	}
	s.nodes.Delete(c.Node)
	var drops []*Extent
	s.DropsOn(c.Node, func(e *Extent) bool {
		drops = append(drops, e)
		return true
	})
	for _, e := range drops {
		e = e.clone()
		e.dropFormer(c.Node)
		s.putExtent(e)
		s.settleDelete(at, e.ID)
	}
	return Result{}
}

// Removable says what c would come to now: no error, or why the node stays. The vote of one that is removed by force
// the leader takes before.
func (v *View) Removable(c *RemoveNode) Result {
	n := v.Node(c.Node)
	switch {
	case n == nil:
		return refused(wire.CodeNotFound, "there is no node %s", c.Node)
	case c.Incarnation != 0 && n.Incarnation != c.Incarnation:
		return stale("node %s has started again", c.Node)
	case c.Incarnation != 0 && n.State != NodeDown:
		return stale("node %s is %s; only one that is down is removed", c.Node, n.State)
	case n.Mode == ModeDecommissioned && !n.Voter && len(n.Ops) == 0:
		return Result{}
	case !c.Forced:
		return refused(wire.CodePrecondition,
			"node %s is %s with %d open operations, vote %t; only a decommissioned one is removed",
			c.Node, n.Mode, len(n.Ops), n.Voter)
	case n.State != NodeDown:
		return refused(wire.CodePrecondition,
			"node %s is %s and %s; one that is not decommissioned is removed only while it is down",
			c.Node, n.State, n.Mode)
	}
	return v.losesNothing(n)
}

// losesNothing refuses the removal of a node that has the only whole replica of an extent, or part in one that is
// not sealed yet: which bytes of it are acknowledged is only known once it is.
func (v *View) losesNothing(n *Node) Result {
	var res Result
	v.ReplicasOn(n.ID, func(e *Extent) bool {
		mine, _ := e.Replica(n.ID)
		switch {
		case !e.Final() && !(len(e.Replicas) > 1 && v.sealWaits(e)):
			res = refused(wire.CodePrecondition,
				"extent %d on node %s is %s; the cell seals it while the node is down, after which the node can be removed", e.ID,
				n.ID, e.State)
		case e.Damaged:
			res = refused(wire.CodePrecondition,
				"extent %d is damaged, and node %s may have bytes of it that no other has; "+
					"bring the node back, or give the extent up by deleting it", e.ID, n.ID)
		case e.Kept() && e.Whole() > 1: // what it lacks is repaired once it is brought back
		case e.Kept() && (mine.State == ReplicaWhole || len(e.Replicas) == 1):
			res = refused(wire.CodePrecondition,
				"node %s has the only whole replica of extent %d, which is deleted and kept until %s; "+
					"bring the node back, or let the extent go by deleting it with no grace", n.ID, e.ID, momentText(e.KeptUntil))
		case mine.State == ReplicaWhole && e.Whole() == 1, len(e.Replicas) == 1:
			res = refused(wire.CodePrecondition,
				"node %s has the only whole replica of extent %d; bring the node back, or give the extent up by deleting it", n.ID,
				e.ID)
		}
		return res.Err == nil
	})
	return res
}

// sealAttempts is after how many attempts a seal that has not ended is known to wait for replicas that are away.
const sealAttempts = 3

// sealWaits reports whether the seal of an open extent cannot end without a replica that does not answer: what those
// that do have is no proof of what was acknowledged. Without the node that is removed they are all that there is.
func (v *View) sealWaits(e *Extent) bool {
	return e.State == ExtentOpen && slices.ContainsFunc(e.Ops, func(id OpID) bool {
		o := v.Op(id)
		return o.Kind == policies.KindSeal && o.Attempts >= sealAttempts
	})
}

// takeOff ends what is open on a node and takes its replicas from their extents, which are then repaired elsewhere.
func (s *State) takeOff(at moment, id NodeID) {
	for _, op := range s.opsWith(id) {
		if s.canEnd(op) { // a move may have ended with its decommission
			s.endOp(at, op, OpCancelled, 0, "node "+string(id)+" was removed by force")
		}
	}
	var held []*Extent
	s.ReplicasOn(id, func(e *Extent) bool {
		held = append(held, e)
		return true
	})
	for _, e := range held {
		e = s.Extent(e.ID).clone()
		e.dropReplica(id)
		e.Gen++
		s.putExtent(e)
	}
}

// opsWith are the open operations that are about a node, or copy from it or to it.
func (s *State) opsWith(id NodeID) []OpID {
	var ids []OpID
	collect := func(o *Op) bool {
		about := o.Kind == policies.KindDecommission || o.Kind == policies.KindRecommission ||
			o.Kind == policies.KindPunch || o.Copies()
		if about && s.canEnd(o.ID) && (o.Node == id || o.Source == id || o.Target == id) {
			ids = append(ids, o.ID)
		}
		return true
	}
	s.Queued(collect)
	s.Running(collect)
	return ids
}
