package node

import (
	"context"
	"fmt"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// settle compares the files on this node's disk with the state, once, before the node serves.
//
// A file that the log says must go is left to the executor, which removes and confirms it. One of
// which the state knows nothing goes to quarantine, and so does one that was born as another extent of
// its number: nothing is removed on suspicion. A replica that is missing or too short is reported as
// suspect, which makes a repair. Extents that this node was filling when it stopped are sealed: what it
// had not acknowledged may differ between replicas.
func (n *Node) settle(ctx context.Context, view *state.View) error {
	for _, id := range n.store.IDs() {
		why := n.unexplained(view, id)
		if why == "" {
			continue
		}
		n.logger.Warn("file that no state explains goes to quarantine", "extent", uint64(id), "why", why)
		if err := n.store.Quarantine(id, why); err != nil {
			return err
		}
	}
	return n.settleReplicas(ctx, view)
}

// unexplained says why the state does not account for a file that is here; empty when it does.
func (n *Node) unexplained(view *state.View, id extent.ID) string {
	e := view.Extent(state.ExtentID(id))
	if e == nil || !e.MayHoldFile(n.id) && !n.expectsCopy(view, e) {
		return "the operation log does not expect a replica of this extent on " + string(n.id)
	}
	if err := n.store.CheckBirth(id, extent.Birth(e.Birth())); err != nil {
		return "stored in another history of this cell: " + err.Error()
	}
	return ""
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

// settleReplicas tells the cell of every replica that is not here as it should be, before this node
// counts as up: until then nobody takes them for whole. What the cell knows already is not said again,
// so that this ends however often it is cut off.
func (n *Node) settleReplicas(ctx context.Context, view *state.View) error {
	var suspects []state.Command
	var err error
	send := func() bool {
		_, err = n.proposeAnywhere(ctx, suspects)
		suspects = suspects[:0]
		return err == nil
	}
	view.ReplicasOn(n.id, func(e *state.Extent) bool {
		r, _ := e.Replica(n.id)
		why := n.settleReplica(e)
		if why != "" && e.State == state.ExtentSealed && r.State == state.ReplicaWhole {
			n.logger.Warn("replica is damaged", "extent", uint64(e.ID), "why", why)
			suspects = append(suspects, &state.Suspect{Extent: e.ID, Node: n.id, Note: clip(why, maxDetailBytes)})
		}
		return len(suspects) < reportsAtOnce || send()
	})
	if err == nil && len(suspects) > 0 {
		send()
	}
	return err
}

// settleReplica says what is wrong with this node's replica, and does what the state asks of it.
func (n *Node) settleReplica(e *state.Extent) (why string) {
	info, err := n.store.Stat(extent.ID(e.ID))
	switch {
	case err != nil:
		why = err.Error()
	case !info.Present:
		why = "the file is missing"
	case info.Broken != "":
		why = info.Broken
	case len(info.Damaged) > 0:
		why = fmt.Sprintf("damaged from byte %d on", info.Damaged[0].From)
	}
	switch {
	case e.State == state.ExtentOpen:
		if why != "" || e.Primary() == n.id {
			n.appends.ask(policies.KindSeal, e.ID) // nothing can be appended to it any more
		}
	case e.State != state.ExtentSealed || why != "":
	case info.Length < e.Length:
		why = fmt.Sprintf("the file has %d bytes, the extent %d", info.Length, e.Length)
	case info.Length > e.Length:
		if err := n.store.Seal(extent.ID(e.ID), e.Length); err != nil {
			why = err.Error()
		}
	}
	return why
}
