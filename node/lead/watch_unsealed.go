package lead

import (
	"context"
	"slices"
	"time"

	"github.com/datanode/datanode/node/quota"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// unsealed is what the nodes have said that they hold, except some, on the leader.
func (w *watch) unsealed(but ...state.NodeID) (all []wire.Unsealed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.clock.Now()
	for id, s := range w.seen {
		if slices.Contains(but, id) || now.Sub(s.at) > w.times.DownAfter {
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

// hearAll waits until every other node that is up has said anew what it holds, and that it has applied the log up to an
// index, for three heartbeats at most.
func (w *watch) hearAll(ctx context.Context, applied state.Index) {
	w.hearWithin(ctx, applied, 3*w.times.Heartbeat)
}

// hearWithin is hearAll with another limit.
func (w *watch) hearWithin(ctx context.Context, applied state.Index, limit time.Duration) {
	const looks = 12
	asked := w.clock.Now()
	for range looks {
		if w.heardAll(asked, applied) {
			return
		}
		select {
		case <-w.clock.After(limit / looks):
		case <-ctx.Done():
			return
		}
	}
}

func (w *watch) heardAll(since time.Time, applied state.Index) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := true
	w.log.View().Nodes(func(node *state.Node) bool {
		s := w.seen[node.ID]
		all = node.ID == w.id || node.State != state.NodeUp ||
			s != nil && s.at.After(since) && s.beat.Applied >= uint64(applied)
		return all
	})
	return all
}

// unsealedFor is what the leader reports to a node about the others, the leader among them.
func (l *Leader) unsealedFor(node state.NodeID) []wire.Unsealed {
	if len(l.log.View().Settings.Quotas) == 0 {
		return nil
	}
	own, _ := l.o.Quotas.Report()
	return append(l.watch.unsealed(node, l.id), own...)
}
