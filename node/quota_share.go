package node

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// maxUnsealed bounds what one node tells of.
const maxUnsealed = 2 * maxOpenExtents

// sureLocked tells whether so little more is wanted that it does not matter what the other nodes have given away since
// the leader was last asked.
func (q *quotas) sureLocked(by tenant, more uint64) bool {
	view := q.n.log.View()
	sure := true
	for _, quota := range view.Settings.QuotasOf(by.class, by.owner) {
		used, key := q.usedLocked(view, &quota), quotaKey{quota.By, quota.Name}
		q.given[key] += more
		sure = sure && used <= quota.Bytes && q.given[key] <= (quota.Bytes-used)/quotaShare
	}
	return sure
}

// learn asks the leader what the other nodes hold and what is deleted, and tells it what this one does. Those who come
// while the leader is being asked share the next question.
func (q *quotas) learn(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), quotaAsk) // others may wait for the same answer
	defer cancel()
	q.mu.Lock()
	mine := q.next
	if mine == nil {
		mine = &asking{done: make(chan struct{})}
		q.next = mine
	}
	q.mu.Unlock()
	select {
	case <-mine.done:
	case <-ctx.Done():
	case <-q.turn:
		defer func() { q.turn <- struct{}{} }()
		q.mu.Lock()
		first := q.next == mine // or another has asked, and ended before this one looked
		if first {
			q.next = nil
		}
		q.mu.Unlock()
		if first {
			q.ask(ctx)
			close(mine.done)
		}
	}
}

func (q *quotas) ask(ctx context.Context) {
	if err := q.n.catchUp(ctx); err != nil {
		q.n.logger.Debug("quotas are judged by what is known here", "error", err)
		return
	}
	if q.n.log.IsLeader() {
		q.mu.Lock()
		defer q.mu.Unlock()
		clear(q.given)
	}
}

// learned takes the leader's answer to a report: what the other nodes hold.
func (q *quotas) learned(report uint64, others []wire.Unsealed) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if report <= q.answered {
		return // it has been on its way for long
	}
	q.answered, q.others = report, others
	clear(q.given)
}

// usedLocked is how many bytes of a quota are used or pledged, as far as this node knows.
func (q *quotas) usedLocked(view *state.View, quota *state.Quota) uint64 {
	return view.Used(quota.By, quota.Name).Bytes + q.unsealedLocked(view, quota)
}

// unsealedBytes are those of a quota that the log does not count.
func (q *quotas) unsealedBytes(view *state.View, quota *state.Quota) uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.unsealedLocked(view, quota)
}

func (q *quotas) unsealedLocked(view *state.View, quota *state.Quota) (used uint64) {
	for id, ap := range q.unsealed {
		if tenantOf(ap.extent).under(quota) && unsealed(view, id) {
			used += ap.stored.Load()
		}
	}
	for p := range q.pledges {
		if p.under(quota) {
			used += p.left
		}
	}
	others := q.others
	if q.n.log.IsLeader() {
		others = q.n.watch.unsealed(q.n.id)
	}
	for _, u := range others {
		id := state.ExtentID(u.Extent)
		if of := (tenant{u.Class, state.Identity(u.Owner)}); of.under(quota) && (id == 0 || id >= view.NextExtent || unsealed(view, id)) {
			used += u.Bytes
		}
	}
	return used
}

// report is what this node holds that the log does not count, and its number: reports may overtake each other.
func (q *quotas) report() (all []wire.Unsealed, number uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.reports++
	for id, ap := range q.unsealed {
		if bytes := ap.stored.Load(); bytes > 0 && len(all) < maxOpenExtents {
			all = append(all, wire.Unsealed{Extent: uint64(id), Class: ap.extent.Class, Owner: string(ap.extent.Owner), Bytes: bytes})
		}
	}
	pledged := map[tenant]uint64{}
	for p := range q.pledges {
		pledged[p.tenant] += p.left
	}
	for by, bytes := range pledged {
		if bytes > 0 && len(all) < maxUnsealed {
			all = append(all, wire.Unsealed{Class: by.class, Owner: string(by.owner), Bytes: bytes})
		}
	}
	return all, q.reports
}

// unsealed is what the nodes have said that they hold, but for some, on the leader.
func (w *watch) unsealed(but ...state.NodeID) (all []wire.Unsealed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.n.now()
	for id, s := range w.seen {
		if slices.Contains(but, id) || now.Sub(s.at) > w.n.time.downAfter {
			continue // what a node that is down holds is being sealed
		}
		for _, u := range s.beat.Unsealed[:min(len(s.beat.Unsealed), maxUnsealed)] {
			if len(u.Class) <= policies.ClassBytes && len(u.Owner) <= wire.MaxIdentityBytes {
				all = append(all, u)
			}
		}
	}
	return all
}

// unsealedFor is what a node is told of the others, the leader among them.
func (n *Node) unsealedFor(node state.NodeID) []wire.Unsealed {
	if len(n.log.View().Settings.Quotas) == 0 {
		return nil
	}
	own, _ := n.quotas.report()
	return append(n.watch.unsealed(node, n.id), own...)
}

// checkQuotas refuses quotas below what is used, open extents and all: the state knows of sealed ones only. What cannot be
// read is refused there.
func (n *Node) checkQuotas(ctx context.Context, value string) error {
	next, err := n.log.View().Settings.With(state.KeyQuotas, value)
	if err != nil || len(next.Quotas) == 0 {
		return nil
	}
	byIdentity := func(q state.Quota) bool { return q.By == state.QuotaByIdentity }
	if n.secure == nil && slices.ContainsFunc(next.Quotas, byIdentity) {
		return wire.Errorf(wire.OpSetting, wire.CodePrecondition, "this cell has no certificates, and so nobody an identity; set quotas of classes")
	}
	n.watch.hearAll(ctx, 0)
	view := n.log.View()
	if err := view.CheckQuotas(&next, func(q *state.Quota) uint64 { return n.quotas.unsealedBytes(view, q) }); err != nil {
		n.quotas.refused.Add(1)
		return err
	}
	return nil
}

// hearAll waits until every other node that is up has said anew what it holds, and that it has applied the log up to an
// index, for three heartbeats at most.
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

// describeUsage is what is used of the quotas, by name; one of each class or identity is described for those of which
// something is kept.
func (n *Node) describeUsage(view *state.View) (all []wire.QuotaUsage) {
	describe := func(q state.Quota) {
		used := view.Used(q.By, q.Name)
		u := wire.QuotaUsage{
			By: q.By.String(), Name: q.Name, Bytes: used.Bytes + n.quotas.unsealedBytes(view, &q), Extents: used.Extents,
			MostBytes: wire.NoLimit, MostExtents: wire.NoLimit,
		}
		if q.Bytes != state.Unbounded {
			u.MostBytes = int64(min(q.Bytes, math.MaxInt64))
		}
		if q.Extents != state.Unbounded {
			u.MostExtents = int64(q.Extents)
		}
		all = append(all, u)
	}
	for _, q := range view.Settings.Quotas {
		if !q.Each {
			describe(q)
			continue
		}
		view.EachUsed(q.By, func(name string, _ state.Usage) bool {
			own, _ := view.Settings.QuotaOf(q.By, name)
			if !slices.Contains(view.Settings.Quotas, own) { // it is this one's
				describe(own)
			}
			return len(all) < listLimit
		})
	}
	return all
}
