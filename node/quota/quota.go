// Package quota holds puts to the quotas of the cell.
//
// The log counts the bytes of sealed extents. Those of open ones are known to the nodes that append to them, and so is
// what puts under way have announced: each node counts that here, reports it to the leader with each heartbeat, and
// learns from the answer what the other nodes have. The leader knows it from their reports.
//
// No goroutine of its own. A put first reserves what it wants to store (Reserve), then asks the leader if it has to,
// and then judges; of two nodes that do so at once, one at least sees what the other wants. While the leader does not
// answer, a node goes on by what it knows.
//
// One lock, Quotas.mu, covers all counts. It is taken for a few map operations, and no function of Options is called
// under it but View, IsLeader and Others, which must not call back.
package quota

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

const (
	// Share is which part of what is left of a quota a node grants between two heartbeats without asking the leader
	// first. So the nodes together exceed a quota by no more than that part each.
	Share = 64
	// askLimit is how long a put waits for the leader's word on what the other nodes hold. It goes on without, by what
	// is known: a quota is worth less than a put while the cell has no leader.
	askLimit = time.Second
)

// Options is what the quotas need of the node. All fields must be set.
type Options struct {
	View     func() *state.View // what this node has applied; a snapshot
	IsLeader func() bool        // from memory, at once
	// Others is what the other nodes have reported last; only asked on the leader. It may take a lock of its own.
	Others func() []wire.Unsealed
	// CatchUp returns when this node has applied what the leader had committed when it was called. On other nodes than
	// the leader it reports to it, and hands its answer to Learned before it returns.
	CatchUp func(context.Context) error
	// HearAll returns when every node that is up has reported anew, or after some heartbeats; only asked on the leader.
	HearAll func(context.Context)
	Secure  bool // who asks has an identity
	Logger  *slog.Logger
}

// Tenant is whose bytes may share an extent: those of one class, and of one identity, so that the extent has one owner.
type Tenant struct {
	Class string
	Owner state.Identity // empty in plaintext
}

// TenantOf is whose bytes are in an extent.
func TenantOf(e *state.Extent) Tenant { return Tenant{e.Class, e.Owner} }

// under reports whether a quota is over the tenant's bytes.
func (t Tenant) under(q *state.Quota) bool {
	if q.By == state.QuotaByIdentity {
		return string(t.Owner) == q.Name
	}
	return t.Class == q.Name
}

// Quotas is what this node knows about what is put under the quotas of the cell. Its methods may be called from any
// goroutine.
type Quotas struct {
	o       Options
	refused atomic.Uint64 // puts, appends, creates and settings

	mu           sync.Mutex
	unsealed     map[state.ExtentID]*Meter // guarded by mu; this node's, of which the log may not know the length yet
	reservations map[*Reservation]struct{} // guarded by mu
	others       []wire.Unsealed           // guarded by mu; as the leader last said, unless this node leads
	reports      uint64                    // guarded by mu; how many were made
	answered     uint64                    // guarded by mu; the newest that was answered
	granted      map[key]uint64            // guarded by mu; bytes reserved since the leader was last asked
	next         *question                 // guarded by mu; that has not been asked yet; nil: nobody waits for one
	turn         chan struct{}             // holds one token: who has it, asks
}

// question is one question to the leader, for all who want to know.
type question struct{ done chan struct{} }

// key names a quota.
type key struct {
	by   state.QuotaBy
	name string
}

// New makes the quotas of a node.
func New(o Options) *Quotas {
	q := &Quotas{
		o: o, unsealed: map[state.ExtentID]*Meter{}, reservations: map[*Reservation]struct{}{}, granted: map[key]uint64{},
		turn: make(chan struct{}, 1),
	}
	q.turn <- struct{}{}
	return q
}

// Meter counts the bytes of one extent that this node appends to, until the log counts them.
type Meter struct {
	extent *state.Extent
	bytes  atomic.Uint64
}

// Open counts what will be stored in an extent.
func (q *Quotas) Open(e *state.Extent) *Meter {
	m := &Meter{extent: e}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.unsealed[e.ID] = m
	return m
}

// Drop counts an extent no more that will be deleted: nothing in it is acknowledged.
func (q *Quotas) Drop(id state.ExtentID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.unsealed, id)
}

// Prune forgets the extents that the log counts.
func (q *Quotas) Prune() {
	q.mu.Lock()
	defer q.mu.Unlock()
	view := q.o.View()
	for id := range q.unsealed {
		if !unsealed(view, id) {
			delete(q.unsealed, id)
		}
	}
}

// unsealed reports whether the log does not count the bytes of an extent.
func unsealed(view *state.View, id state.ExtentID) bool {
	e := view.Extent(id)
	return e != nil && (e.State == state.ExtentOpen || e.State == state.ExtentCreating)
}

// MayCreate reports whether the quotas leave room for another extent of a tenant that has some to share already.
func (q *Quotas) MayCreate(t Tenant) bool { return q.o.View().CheckExtent(t.Class, t.Owner) == nil }

// CountRefusal counts a refusal for a quota that somebody else has found.
func (q *Quotas) CountRefusal() { q.refused.Add(1) }

// Refused is how many puts, appends, creates and settings this node has refused for a quota.
func (q *Quotas) Refused() uint64 { return q.refused.Load() }
