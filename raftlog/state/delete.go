package state

import (
	"slices"
	"strings"

	"github.com/datanode/datanode/policies"
)

// abandonExtent buries an extent whose create did not succeed, and ends what waited for the create:
// a seal that started later would bring the extent back. A delete may go on; it finds a tombstone.
func (s *State) abandonExtent(at moment, create *Op) {
	for _, id := range slices.Clone(s.Extent(create.Extent).Ops) {
		if s.Op(id).Kind != policies.KindDelete {
			s.endOp(at, id, OpCancelled, create.ID,
				"the extent was never made: create "+create.ID.String()+" "+create.State.String())
		}
	}
	s.buryExtent(at, create.Extent)
}

// buryExtent turns an extent into a tombstone. For a delete that is the moment at which it takes
// effect, the same on all replicas. Every node that holds or may hold a file becomes a former holder:
// the tombstone stays until each has confirmed. Nothing else is open on the extent then: the delete
// has waited for, or ended, what came before it, and nothing is admitted after it.
func (s *State) buryExtent(at moment, id ExtentID) {
	e := s.Extent(id).clone()
	if e.Kept() {
		e.GraceEnded = min(e.KeptUntil, at.now)
	}
	e.State, e.KeptUntil = ExtentDeleted, 0
	s.fillHoles(e, 0)
	e.Gen++
	for _, r := range slices.Clone(e.Replicas) {
		e.retire(at, r.Node)
	}
	s.putExtent(e)
	s.settleDelete(at, id)
}

// gone records that a node has dropped its file.
func (s *State) gone(at moment, c *Gone) Result {
	e := s.Extent(c.Extent)
	if e == nil {
		return Result{} // forgotten: everybody had confirmed
	}
	if since, former := e.FormerSince(c.Node); !former || since != c.Since {
		return Result{} // a repeated confirmation
	}
	e = e.clone()
	e.dropFormer(c.Node)
	e.Gen++
	s.putExtent(e)
	s.settleDelete(at, c.Extent)
	return Result{}
}

// settleDelete ends a delete that every node which is up has confirmed, and forgets the tombstone
// once every node at all has. A node that is down drops its file before it serves again.
func (s *State) settleDelete(at moment, id ExtentID) {
	e := s.Extent(id)
	if e == nil || e.State != ExtentDeleted || e.Kept() {
		return
	}
	for _, f := range e.Former {
		if node := s.Node(f.Node); node != nil && node.State != NodeDown {
			return
		}
	}
	note := "every file is gone"
	if len(e.Former) > 0 {
		note = "gone from every node that is up; " + formerNames(e) + " will drop it before serving again"
	}
	for _, op := range slices.Clone(e.Ops) {
		if o := s.Op(op); o.Kind == policies.KindDelete && o.State == OpRunning {
			s.endOp(at, op, OpDone, 0, note)
		}
	}
	if e = s.Extent(id); len(e.Former) == 0 && len(e.Ops) == 0 {
		s.forgetExtent(e)
	}
}

// settleDeletes looks again at the deletes that waited for a node that has gone down.
func (s *State) settleDeletes(at moment, node NodeID) {
	var ids []ExtentID
	s.DropsOn(node, func(e *Extent) bool {
		if e.State == ExtentDeleted {
			ids = append(ids, e.ID)
		}
		return true
	})
	for _, id := range ids {
		s.settleDelete(at, id)
	}
}

func formerNames(e *Extent) string {
	var names []string
	for _, f := range e.Former {
		names = append(names, string(f.Node))
	}
	return strings.Join(names, ", ")
}
