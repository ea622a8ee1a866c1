package quota

import (
	"context"
	"slices"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

const (
	// MaxReport bounds what one node reports; others take no more from it.
	MaxReport = 2 * MaxExtents
	// MaxExtents bounds the extents in a report. It is how many a node may have open.
	MaxExtents = 1024
)

// learn asks the leader what the other nodes hold and what is deleted, and reports to it what this one does. Those who
// come while the leader is being asked share the next question.
func (q *Quotas) learn(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askLimit) // others may wait for the same answer
	defer cancel()
	q.mu.Lock()
	mine := q.next
	if mine == nil {
		mine = &question{done: make(chan struct{})}
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

func (q *Quotas) ask(ctx context.Context) {
	if err := q.o.CatchUp(ctx); err != nil {
		q.o.Logger.Debug("quotas are judged by what is known here", "error", err)
		return
	}
	if q.o.IsLeader() {
		q.mu.Lock()
		defer q.mu.Unlock()
		clear(q.granted)
	}
}

// Learned takes the leader's answer to a report: what the other nodes hold.
func (q *Quotas) Learned(report uint64, others []wire.Unsealed) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if report <= q.answered {
		return // it has been on its way for long
	}
	q.answered, q.others = report, others
	clear(q.granted)
}

// UnsealedBytes are those of a quota that the log does not count.
func (q *Quotas) UnsealedBytes(view *state.View, quota *state.Quota) uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.unsealedLocked(view, quota)
}

func (q *Quotas) unsealedLocked(view *state.View, quota *state.Quota) (used uint64) {
	for id, m := range q.unsealed {
		if TenantOf(m.extent).under(quota) && unsealed(view, id) {
			used += m.bytes.Load()
		}
	}
	for r := range q.reservations {
		if r.under(quota) {
			used += r.left
		}
	}
	others := q.others
	if q.o.IsLeader() {
		others = q.o.Others()
	}
	for _, u := range others {
		id := state.ExtentID(u.Extent)
		uncounted := id == 0 || id >= view.NextExtent || unsealed(view, id)
		if of := (Tenant{u.Class, state.Identity(u.Owner)}); of.under(quota) && uncounted {
			used += u.Bytes
		}
	}
	return used
}

// Report is what this node holds that the log does not count, and its number: reports may overtake each other.
func (q *Quotas) Report() (all []wire.Unsealed, number uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.reports++
	for id, m := range q.unsealed {
		if bytes := m.bytes.Load(); bytes > 0 && len(all) < MaxExtents {
			all = append(all, wire.Unsealed{
				Extent: uint64(id), Class: m.extent.Class, Owner: string(m.extent.Owner), Bytes: bytes,
			})
		}
	}
	reserved := map[Tenant]uint64{}
	for r := range q.reservations {
		reserved[r.Tenant] += r.left
	}
	for by, bytes := range reserved {
		if bytes > 0 && len(all) < MaxReport {
			all = append(all, wire.Unsealed{Class: by.Class, Owner: string(by.Owner), Bytes: bytes})
		}
	}
	return all, q.reports
}

// CheckSetting refuses quotas below what is used, open extents and all: the state counts sealed ones only. A value
// that cannot be read is refused there.
func (q *Quotas) CheckSetting(ctx context.Context, value string) error {
	next, err := q.o.View().Settings.With(state.KeyQuotas, value)
	if err != nil || len(next.Quotas) == 0 {
		return nil
	}
	byIdentity := func(q state.Quota) bool { return q.By == state.QuotaByIdentity }
	if !q.o.Secure && slices.ContainsFunc(next.Quotas, byIdentity) {
		return wire.Errorf(wire.OpSetting, wire.CodePrecondition,
			"this cell has no certificates, and so nobody an identity; set quotas of classes")
	}
	q.o.HearAll(ctx)
	view := q.o.View()
	used := func(quota *state.Quota) uint64 { return q.UnsealedBytes(view, quota) }
	if err := view.CheckQuotas(&next, used); err != nil {
		q.refused.Add(1)
		return err
	}
	return nil
}
