package quota

import (
	"context"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Reservation is what a put under way may still store. Its methods are the put's own to call.
type Reservation struct {
	q *Quotas
	Tenant
	op   wire.OpType
	left uint64 // guarded by q.mu; bytes not stored yet
}

// Reserve takes so many bytes of the quotas for a put, or refuses it. Less than 0: nobody knows how many. The caller
// ends the reservation.
func (q *Quotas) Reserve(ctx context.Context, op wire.OpType, by Tenant, length int64) (*Reservation, error) {
	r := &Reservation{q: q, Tenant: by, op: op}
	if err := r.grow(ctx, uint64(max(length, 0))); err != nil {
		return nil, err
	}
	return r, nil
}

// Cover makes sure that so many bytes more may be stored. A put whose length is not known ends where it may not go on.
func (r *Reservation) Cover(ctx context.Context, bytes int) error {
	r.q.mu.Lock()
	left := r.left
	r.q.mu.Unlock()
	if uint64(bytes) <= left {
		return nil
	}
	return r.grow(ctx, uint64(bytes)-left)
}

func (r *Reservation) grow(ctx context.Context, more uint64) error {
	q := r.q
	if len(q.o.View().Settings.QuotasOf(r.Class, r.Owner)) == 0 {
		return nil
	}
	// First counted, then reported, then judged: of two nodes that do so at once, one at least sees what the other wants.
	if !r.want(more) {
		q.learn(ctx)
	}
	err := r.judge(more)
	if err == nil {
		return nil
	}
	q.learn(ctx) // or the other nodes would count it for a while, and refuse what fits
	return err
}

// want counts so many bytes more, and reports whether that is so little that nobody need be asked.
func (r *Reservation) want(more uint64) (sure bool) {
	r.q.mu.Lock()
	defer r.q.mu.Unlock()
	r.left += more
	r.q.reservations[r] = struct{}{}
	return r.q.sureLocked(r.Tenant, more)
}

// judge refuses what want has counted, and counts it no more, if a quota does not allow it.
func (r *Reservation) judge(more uint64) error {
	q := r.q
	q.mu.Lock()
	defer q.mu.Unlock()
	view := q.o.View()
	for _, quota := range view.Settings.QuotasOf(r.Class, r.Owner) {
		used := q.usedLocked(view, &quota)
		if err := quota.CheckBytes(used-more, more); err != nil {
			r.left -= more
			q.refused.Add(1)
			err.Op = r.op
			return err
		}
	}
	return nil
}

// Stored takes bytes that have become durable off what may still be. The extent of m has length bytes now. A nil
// reservation is that of bytes that only move.
func (r *Reservation) Stored(m *Meter, length uint64, bytes int) {
	if r == nil {
		m.bytes.Store(length)
		return
	}
	r.q.mu.Lock()
	defer r.q.mu.Unlock()
	m.bytes.Store(length)
	r.left -= min(r.left, uint64(bytes))
}

// End gives back what was not stored.
func (r *Reservation) End() {
	r.q.mu.Lock()
	defer r.q.mu.Unlock()
	delete(r.q.reservations, r)
}

// sureLocked reports whether so little more is wanted that it does not matter what the other nodes have granted since
// the leader was last asked.
func (q *Quotas) sureLocked(by Tenant, more uint64) bool {
	view := q.o.View()
	sure := true
	for _, quota := range view.Settings.QuotasOf(by.Class, by.Owner) {
		used, k := q.usedLocked(view, &quota), key{quota.By, quota.Name}
		q.granted[k] += more
		sure = sure && used <= quota.Bytes && q.granted[k] <= (quota.Bytes-used)/Share
	}
	return sure
}

// usedLocked is how many bytes of a quota are used or reserved, as far as this node knows.
func (q *Quotas) usedLocked(view *state.View, quota *state.Quota) uint64 {
	return view.Used(quota.By, quota.Name).Bytes + q.unsealedLocked(view, quota)
}
