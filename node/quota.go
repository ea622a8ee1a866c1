package node

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

const (
	// quotaShare is which part of what is left of a quota a node gives away between two heartbeats without asking the
	// leader first. So the nodes together exceed a quota by no more than that part each.
	quotaShare = 64
	// quotaAsk is how long a put waits for the leader's word on what the other nodes hold. It goes on without, by what
	// is known: a quota is worth less than a put while the cell has no leader.
	quotaAsk = time.Second
)

// tenant is whose bytes may share an extent: those of one class, and of one identity, so that the extent has one owner.
type tenant struct {
	class string
	owner state.Identity // empty in plaintext
}

func tenantOf(e *state.Extent) tenant { return tenant{e.Class, e.Owner} }

// under tells whether a quota is over the tenant's bytes.
func (t tenant) under(q *state.Quota) bool {
	if q.By == state.QuotaByIdentity {
		return string(t.owner) == q.Name
	}
	return t.class == q.Name
}

// quotas holds what is put against the quotas of the cell. The log counts the bytes of sealed extents. Those of open ones
// are known to the nodes that append to them, as is what puts under way have announced: that is counted here, told to
// the leader with each heartbeat, and learned from its answers about the other nodes.
type quotas struct {
	n       *Node
	refused atomic.Uint64 // puts, appends and creates

	mu       sync.Mutex
	unsealed map[state.ExtentID]*appender // guarded by mu; this node's, of which the log may not know the length yet
	pledges  map[*pledge]struct{}         // guarded by mu
	others   []wire.Unsealed              // guarded by mu; as the leader last said, unless this node leads
	reports  uint64                       // guarded by mu; how many were made
	answered uint64                       // guarded by mu; the newest that was answered
	given    map[quotaKey]uint64          // guarded by mu; bytes pledged since the leader was last asked
	next     *asking                      // guarded by mu; the asking that has not begun; nil: nobody waits for one
	turn     chan struct{}                // holds one token: who has it, asks
}

// asking is one question to the leader, for all who want to know.
type asking struct{ done chan struct{} }

type quotaKey struct {
	by   state.QuotaBy
	name string
}

func newQuotas(n *Node) *quotas {
	q := &quotas{
		n: n, unsealed: map[state.ExtentID]*appender{}, pledges: map[*pledge]struct{}{}, given: map[quotaKey]uint64{},
		turn: make(chan struct{}, 1),
	}
	q.turn <- struct{}{}
	return q
}

// pledge is what a put under way may still store. Its methods are the put's own to call.
type pledge struct {
	q *quotas
	tenant
	op   wire.OpType
	left uint64 // guarded by q.mu; bytes not stored yet
}

// pledge makes room in the quotas for a put of so many bytes, or refuses it. Less than 0: nobody knows how many. The
// caller ends it.
func (q *quotas) pledge(ctx context.Context, op wire.OpType, by tenant, length int64) (*pledge, error) {
	p := &pledge{q: q, tenant: by, op: op}
	if err := p.grow(ctx, uint64(max(length, 0))); err != nil {
		return nil, err
	}
	return p, nil
}

// cover makes sure that so many bytes more may be stored. A put whose length is not known ends where it may not go on.
func (p *pledge) cover(ctx context.Context, bytes int) error {
	p.q.mu.Lock()
	left := p.left
	p.q.mu.Unlock()
	if uint64(bytes) <= left {
		return nil
	}
	return p.grow(ctx, uint64(bytes)-left)
}

func (p *pledge) grow(ctx context.Context, more uint64) error {
	q := p.q
	if len(q.n.log.View().Settings.QuotasOf(p.class, p.owner)) == 0 {
		return nil
	}
	// First counted, then told, then judged: of two nodes that do so at once, one at least sees what the other wants.
	if !p.want(more) {
		q.learn(ctx)
	}
	err := p.judge(more)
	if err == nil {
		return nil
	}
	q.learn(ctx) // or the other nodes would count it for a while, and refuse what fits
	return err
}

// want counts so many bytes more, and tells whether that is so little that nobody need be asked.
func (p *pledge) want(more uint64) (sure bool) {
	p.q.mu.Lock()
	defer p.q.mu.Unlock()
	p.left += more
	p.q.pledges[p] = struct{}{}
	return p.q.sureLocked(p.tenant, more)
}

// judge refuses what want has counted, and counts it no more, if a quota does not allow it.
func (p *pledge) judge(more uint64) error {
	q := p.q
	q.mu.Lock()
	defer q.mu.Unlock()
	view := q.n.log.View()
	for _, quota := range view.Settings.QuotasOf(p.class, p.owner) {
		used := q.usedLocked(view, &quota)
		if err := quota.CheckBytes(used-more, more); err != nil {
			p.left -= more
			q.refused.Add(1)
			err.Op = p.op
			return err
		}
	}
	return nil
}

// stored takes what has become durable off what may still be. ap is the caller's; p is nil for bytes that only move.
func (p *pledge) stored(ap *appender, bytes int) {
	if p == nil {
		ap.stored.Store(ap.offset)
		return
	}
	p.q.mu.Lock()
	defer p.q.mu.Unlock()
	ap.stored.Store(ap.offset)
	p.left -= min(p.left, uint64(bytes))
}

func (p *pledge) end() {
	p.q.mu.Lock()
	defer p.q.mu.Unlock()
	delete(p.q.pledges, p)
}

// open counts what ap stores from now on.
func (q *quotas) open(ap *appender) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.unsealed[ap.extent.ID] = ap
}

// drop counts an extent no more that will be deleted: nothing in it is acknowledged.
func (q *quotas) drop(ap *appender) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.unsealed, ap.extent.ID)
}

// prune forgets the extents that the log counts.
func (q *quotas) prune() {
	q.mu.Lock()
	defer q.mu.Unlock()
	view := q.n.log.View()
	for id := range q.unsealed {
		if !unsealed(view, id) {
			delete(q.unsealed, id)
		}
	}
}

// unsealed tells whether the log does not count the bytes of an extent.
func unsealed(view *state.View, id state.ExtentID) bool {
	e := view.Extent(id)
	return e != nil && (e.State == state.ExtentOpen || e.State == state.ExtentCreating)
}

// mayMake tells whether the quotas leave room for another extent of a tenant that has some to share already.
func (n *Node) mayMake(t tenant) bool { return n.log.View().CheckExtent(t.class, t.owner) == nil }

// checkOwner refuses a submission that says whose its extent is to be, unless a node does on behalf of a put.
func checkOwner(op wire.OpType, req *wire.SubmitRequest, owner string) error {
	switch {
	case owner == "":
	case !req.Cell:
		return wire.Errorf(op, wire.CodeDenied, "an extent is of who asks for it; only nodes ask for one of %q", owner)
	case len(owner) > wire.MaxIdentityBytes || !wire.Plain(owner):
		return wire.Errorf(op, wire.CodeInvalid, "owner %q: want role and name of a certificate", wire.Clip(owner, wire.MaxIdentityBytes))
	}
	return nil
}
