package node

import (
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// settle compares the files on this node's disk with the state, once, before the node serves.
//
// A file that the log says must go is left to the executor, which removes and confirms it. One of
// which the state knows nothing goes to quarantine: nothing is removed on suspicion. A replica that
// is missing or too short is reported as suspect, which makes a repair. Extents that this node was
// filling when it stopped are sealed: what it had not acknowledged may differ between replicas.
func (n *Node) settle(view *state.View) error {
	for _, id := range n.store.IDs() {
		e := view.Extent(state.ExtentID(id))
		if e != nil && e.MayHoldFile(n.id) {
			continue
		}
		if e != nil && n.expectsCopy(view, e) {
			continue
		}
		n.logger.Warn("file that no state explains goes to quarantine", "extent", uint64(id))
		if err := n.store.Quarantine(id, "the operation log does not expect a replica of this extent on "+string(n.id)); err != nil {
			return err
		}
	}
	view.ReplicasOn(n.id, func(e *state.Extent) bool {
		n.settleReplica(e)
		return true
	})
	return nil
}

// expectsCopy tells whether an open copy has this node as its target: it may have put the file in
// place before its finish was in the log.
func (n *Node) expectsCopy(view *state.View, e *state.Extent) bool {
	for _, id := range e.Ops {
		if o := view.Op(id); o.Copies() && o.Target == n.id {
			return true
		}
	}
	return false
}

func (n *Node) settleReplica(e *state.Extent) {
	info, err := n.store.Stat(extent.ID(e.ID))
	switch {
	case e.State == state.ExtentOpen && e.Primary() == n.id:
		n.appends.ask(policies.KindSeal, e.ID)
	case e.State != state.ExtentSealed:
	case err != nil:
		n.noteSuspect(e.ID, n.id, err.Error())
	case info.Length < e.Length:
		n.noteSuspect(e.ID, n.id, "the file is shorter than the extent")
	case info.Length > e.Length:
		if err := n.store.Seal(extent.ID(e.ID), e.Length); err != nil {
			n.noteSuspect(e.ID, n.id, err.Error())
		}
	}
}
