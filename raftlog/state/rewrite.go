package state

import (
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
)

// A rewrite makes the file of one sealed replica anew, without what punches have deleted of its extent. It is an
// operation of the kind punch, which names the node; that node asks for it and carries it out. What is read of the
// extent, and what its sums are, is the same before and after: the log only gives the turn, so that a node rewrites one
// replica at a time, and no two replicas of an extent are rewritten at once. For the same reason it is in nobody's way:
// whatever else is admitted for the extent ends it, and its node asks again.

// checkRewrite refuses a rewrite that could never start. e is not deleted.
func checkRewrite(c *Admit, e *Extent) Result {
	if r, ok := e.Replica(c.Node); !ok || r.State != ReplicaWhole || e.State != ExtentSealed {
		return refused(wire.CodePrecondition, "node %q has no whole replica of extent %d, sealed, that could be rewritten",
			c.Node, c.Extent)
	}
	if e.Holes == 0 {
		return refused(wire.CodePrecondition, "nothing of extent %d is deleted, so no replica of it is rewritten", c.Extent)
	}
	return Result{}
}

// yields reports whether an open operation ends because another comes for its extent, even if that would wait for it.
func (s *State) yields(open OpID, comes *Op) bool {
	o := s.Op(open)
	return o.Kind == policies.KindPunch && comes.Kind != policies.KindPunch
}

// checkRewriting makes sure that the node of a rewrite carries it out, can do so, and has no other under way.
func (s *State) checkRewriting(o *Op, c *Start) Result {
	e := s.Extent(o.Extent)
	switch {
	case e == nil || e.State != ExtentSealed:
		return stale("extent %d is not sealed", o.Extent)
	case c.Executor != o.Node:
		return stale("a replica is rewritten by its node: operation %s is for %s, not %q", o.ID, o.Node, c.Executor)
	}
	if r, ok := e.Replica(o.Node); !ok || r.State != ReplicaWhole {
		return stale("node %s has no whole replica of extent %d", o.Node, o.Extent)
	}
	if other := s.Rewriting(o.Node); other != 0 {
		return stale("node %s rewrites one replica at a time: now that of operation %s", o.Node, other)
	}
	return Result{}
}

// Rewriting is the running rewrite of a replica on a node, 0 for none.
func (v *View) Rewriting(node NodeID) (id OpID) {
	if v.KindLoad(policies.KindPunch).Running == 0 {
		return 0
	}
	v.Running(func(o *Op) bool {
		if o.Kind == policies.KindPunch && o.Node == node {
			id = o.ID
		}
		return id == 0
	})
	return id
}

// Rewrites reports whether a rewrite is open that a node has asked for, and so whether it should not ask for one more.
func (v *View) Rewrites(node NodeID) bool {
	if l := v.KindLoad(policies.KindPunch); l.Queued == 0 {
		return v.Rewriting(node) != 0
	}
	open := v.Rewriting(node) != 0
	v.Queued(func(o *Op) bool {
		open = open || o.Kind == policies.KindPunch && o.Node == node
		return !open
	})
	return open
}
