package member

import (
	"context"

	"github.com/datanode/datanode/raftlog/state"
)

// catchUp makes the node ready: it reconciles the store once this node has applied all that was committed when the
// leader was asked. A node that comes back does not serve before that: what it holds may have been deleted.
func (m *Member) catchUp(ctx, life context.Context, commit state.Index) error {
	if m.o.IsReady() {
		return nil
	}
	if err := m.o.Log.WaitApplied(ctx, commit); err != nil {
		return err
	}
	view := m.o.Log.View()
	// Before this node holds anything, its folder says so: see Folder.AdmittedBy.
	if err := m.o.Folder.Admit(view.Cell); err != nil {
		return err
	}
	if err := m.endAbstention(view); err != nil {
		return err
	}
	if node := view.Node(m.o.Node); node != nil && node.Unproven || !m.o.StoreOpen() {
		m.reconcileSlowly(life, view)
		return nil
	}
	if err := m.o.Reconcile(ctx, view); err != nil {
		return err
	}
	m.serve()
	return nil
}

func (m *Member) serve() {
	m.o.BecomeReady()
	m.o.Logger.Info("ready", "applied", uint64(m.o.Log.AppliedIndex()))
}

// otherServes reports whether another voter is up.
func otherServes(view *state.View, self state.NodeID) (serves bool) {
	view.Nodes(func(node *state.Node) bool {
		serves = node.ID != self && node.Voter && node.State == state.NodeUp
		return !serves
	})
	return serves
}

// reconcileSlowly reconciles a store that is still being opened, or has to be read in full, beside the heartbeats:
// without those the node would be called down. One that leads meanwhile gives that up, since a leader that does not
// serve admits nothing.
func (m *Member) reconcileSlowly(life context.Context, view *state.View) {
	if m.o.Log.IsLeader() && otherServes(view, m.o.Node) {
		if err := m.o.Log.TransferLeadership(life); err != nil {
			m.o.Logger.Info("leadership not handed on", "error", err)
		}
	}
	if !m.reconciling.CompareAndSwap(false, true) {
		return
	}
	m.slow.Go(func() {
		defer m.reconciling.Store(false)
		if err := m.o.Reconcile(life, view); err != nil {
			m.o.Logger.Warn("store not compared yet, trying again", "error", err)
			return
		}
		m.serve()
	})
}

// endAbstention gives this node its vote again once its log is whole: that it was admitted as it runs now is an entry
// that was proposed after it had opened its log.
func (m *Member) endAbstention(view *state.View) error {
	node := view.Node(m.o.Node)
	if m.o.Log.Abstains() == nil || node == nil || node.Incarnation != m.o.Incarnation {
		return nil
	}
	return m.o.Log.MadeWhole()
}
