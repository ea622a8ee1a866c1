package connlimit

import (
	"container/list"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/datanode/datanode/wire/mux"
)

const (
	// MaxConns bounds the accepted connections but those of nodes. One more is closed at once.
	MaxConns = 1024
	// MaxConnsPerAddr bounds those from one IP address, so that one machine cannot take them all.
	MaxConnsPerAddr = 256
	// MaxHalfOpen bounds those that have not yet said who they are, and MaxHalfOpenPerAddr those of them
	// from one IP address. One more closes the one that has taken longest: an honest greeting is over in
	// a moment, and refusing newcomers instead would let those who say nothing keep everybody out.
	MaxHalfOpen        = 256
	MaxHalfOpenPerAddr = 64
	// maxCrowdedOut is how many of one IP address are closed so until it counts as one offence. A hundred
	// honest clients that start at the same moment are none.
	maxCrowdedOut = 64
)

// Limits counts the accepted connections, and closes those that there is no room for.
type Limits struct {
	budgets   budgets
	penalties *penalties

	mu     sync.Mutex
	closed bool                     // Guarded by mu.
	conns  map[net.Conn]*acceptance // Guarded by mu. Those not closed yet.
	from   map[string]*headcount    // Guarded by mu. What there is from each machine.
	half   list.List                // Guarded by mu. Of net.Conn: those half open, in the order of their coming.
	kept   reserve                  // Guarded by mu.
}

// acceptance is one accepted connection.
type acceptance struct {
	addr string // see Machine
	// Its places among those that have not yet said who they are, of all and of this address; nil: it has.
	half, halfOfAddr *list.Element
	gate             *list.Element // its place in reserve.gate; nil: it found room among all others, or is a node's
	node             string        // whose it is, if it is a node's
}

// headcount is what there is of one machine.
type headcount struct {
	all        int
	nodes      int       // of all, those of nodes
	half       list.List // as in Limits
	crowdedOut int       // connections closed to make room, not yet counted as its offence. Invariant: < maxCrowdedOut
	shares     shares
}

// Options say what limits report. Each may be nil.
type Options struct {
	// MayBeNode reports whether a connection from a machine may turn out to be a node's, for which there is room beyond
	// what clients may have; nil: none may. It is called under the lock of Limits, and must not call back.
	MayBeNode func(machine string) bool
	Now       func() time.Time // nil: time.Now
	Logger    *slog.Logger     // nil: none
	// ClientBytes is what all clients together may make this node hold; 0: ClientPoolBytes.
	ClientBytes int
}

// New makes the limits of a node that has accepted no connection yet.
func New(o Options) *Limits {
	return &Limits{
		budgets: newBudgets(o.ClientBytes), penalties: newPenalties(o.Now, o.Logger),
		conns: map[net.Conn]*acceptance{}, from: map[string]*headcount{}, kept: newReserve(o.MayBeNode),
	}
}

// Add counts a connection in, or closes it because there are too many or its machine has to wait.
func (c *Limits) Add(nc net.Conn) bool {
	addr := Machine(nc.RemoteAddr())
	if !c.penalties.admit(addr) {
		HangUp(nc)
		return false
	}
	ok, crowding := c.enter(nc, addr)
	if !ok {
		HangUp(nc)
	}
	if crowding != "" {
		c.penalties.offended(crowding, OffenceSilent)
	}
	return ok
}

// enter counts a connection in, if there is room for it. crowding is the address that too many were closed of, if
// one more of them had to make room.
func (c *Limits) enter(nc net.Conn, addr string) (ok bool, crowding string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.from[addr]
	if n == nil {
		n = &headcount{shares: c.budgets.newShares()}
	}
	full := c.fullLocked(n)
	if c.closed || full && !c.kept.mayBeNode(addr) {
		c.kept.refused++
		return false, ""
	}
	if full {
		c.crowdGateLocked(addr)
	}
	var oldest *list.Element
	if n.half.Len() >= MaxHalfOpenPerAddr {
		oldest = n.half.Front()
	} else if c.half.Len() >= MaxHalfOpen {
		oldest = c.half.Front()
	}
	if oldest != nil {
		crowding = c.crowdOutLocked(oldest.Value.(net.Conn)) //nolint:forcetypeassert // there is nothing else in it
	}
	c.from[addr] = n
	n.all++
	a := &acceptance{addr: addr, half: c.half.PushBack(nc), halfOfAddr: n.half.PushBack(nc)}
	c.conns[nc] = a
	if full {
		a.gate = c.kept.gate.PushBack(nc)
	}
	return true, crowding
}

// crowdOutLocked closes a half-open connection, and gives its address if that makes too many.
func (c *Limits) crowdOutLocked(nc net.Conn) (crowding string) {
	addr := c.conns[nc].addr
	if n := c.from[addr]; n.crowdedOut+1 < maxCrowdedOut {
		n.crowdedOut++
	} else {
		n.crowdedOut, crowding = 0, addr
	}
	c.removeLocked(nc)
	nc.Close()
	return crowding
}

// leaveHalfOpenLocked takes a connection from those that are half open.
func (c *Limits) leaveHalfOpenLocked(a *acceptance) {
	if a.half != nil {
		c.half.Remove(a.half)
		c.from[a.addr].half.Remove(a.halfOfAddr)
		a.half, a.halfOfAddr = nil, nil
	}
}

// Share is a connection's share of the memory, nil for one that was closed meanwhile. provenNode says that a
// certificate proves it a node's.
func (c *Limits) Share(nc net.Conn, provenNode bool) *mux.Share {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.conns[nc]
	if !ok {
		return nil
	}
	return c.from[a.addr].shares.of(provenNode)
}

// Greeted says that a connection has said who it is, and which node's it is, if it is one's. It is false for one that
// was closed meanwhile, and for one that there is no room for.
func (c *Limits) Greeted(nc net.Conn, node string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.conns[nc]
	if !ok {
		return false
	}
	c.leaveHalfOpenLocked(a)
	return c.seatLocked(a, node)
}

// Remove counts a connection out, if it has not been yet.
func (c *Limits) Remove(nc net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removeLocked(nc)
}

func (c *Limits) removeLocked(nc net.Conn) {
	a, ok := c.conns[nc]
	if !ok {
		return
	}
	c.leaveHalfOpenLocked(a)
	c.leaveReserveLocked(a)
	delete(c.conns, nc)
	n := c.from[a.addr]
	if n.all--; n.all == 0 {
		delete(c.from, a.addr)
	}
}

// Offended notes that a connection ended for what its peer did.
func (c *Limits) Offended(nc net.Conn, why Offence) {
	c.penalties.offended(Machine(nc.RemoteAddr()), why)
}

// Count is how many connections there are, and how many of them are half open.
func (c *Limits) Count() (all, half int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.conns), c.half.Len()
}

// Crowd is how many connections there are, of all machines and of the one that has most.
type Crowd struct {
	All, Half, AllOfOne, HalfOfOne int // but those of nodes
	Nodes                          int
	Refused                        uint64 // since the start
}

// Crowd is how many connections there are now.
func (c *Limits) Crowd() Crowd {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := Crowd{All: len(c.conns) - c.kept.nodes, Half: c.half.Len(), Nodes: c.kept.nodes, Refused: c.kept.refused}
	for _, n := range c.from {
		now.AllOfOne, now.HalfOfOne = max(now.AllOfOne, n.all-n.nodes), max(now.HalfOfOne, n.half.Len())
	}
	return now
}

// Penalties counts the offences since the start, and who has to wait for them.
func (c *Limits) Penalties() PenaltyCounts { return c.penalties.tally() }

// Memory is the budget of the connections of clients and, in plaintext, nodes.
func (c *Limits) Memory() *mux.Budget { return c.budgets.clients }

// Close closes all connections, and those to come.
func (c *Limits) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for nc := range c.conns {
		nc.Close()
	}
}
