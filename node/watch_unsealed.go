package node

import (
	"context"
	"slices"
	"time"

	"github.com/datanode/datanode/node/quota"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// unsealed is what the nodes have reported that they hold, but for some, on the leader.
func (w *watch) unsealed(but ...state.NodeID) (all []wire.Unsealed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.n.now()
	for id, s := range w.seen {
		if slices.Contains(but, id) || now.Sub(s.at) > w.n.time.downAfter {
			continue // what a node that is down holds is being sealed
		}
		for _, u := range s.beat.Unsealed[:min(len(s.beat.Unsealed), quota.MaxReport)] {
			if len(u.Class) <= policies.ClassBytes && len(u.Owner) <= wire.MaxIdentityBytes {
				all = append(all, u)
			}
		}
	}
	return all
}

// unsealedFor is what the leader answers a node about the others, itself among them.
func (n *Node) unsealedFor(node state.NodeID) []wire.Unsealed {
	if len(n.log.View().Settings.Quotas) == 0 {
		return nil
	}
	own, _ := n.quotas.Report()
	return append(n.watch.unsealed(node, n.id), own...)
}

// hearAll waits until every other node that is up has reported anew what it holds, and that it has applied the log up
// to an index, for three heartbeats at most.
func (w *watch) hearAll(ctx context.Context, applied state.Index) {
	const looks = 12
	asked := w.n.now()
	for range looks {
		if w.heardAll(asked, applied) {
			return
		}
		select {
		case <-w.n.after(3 * w.n.time.heartbeat / looks):
		case <-ctx.Done():
			return
		}
	}
}

func (w *watch) heardAll(since time.Time, applied state.Index) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := true
	w.n.log.View().Nodes(func(node *state.Node) bool {
		s := w.seen[node.ID]
		all = node.ID == w.n.id || node.State != state.NodeUp ||
			s != nil && s.at.After(since) && s.beat.Applied >= uint64(applied)
		return all
	})
	return all
}
