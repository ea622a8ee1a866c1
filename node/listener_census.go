package node

import (
	"container/list"
	"net"
	"sync"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire/mux"
)

const (
	// maxConns bounds the accepted connections but those of nodes. One more is closed at once.
	maxConns = 1024
	// maxConnsPerAddr bounds those from one IP address, so that one machine cannot take them all.
	maxConnsPerAddr = 256
	// maxHalfOpen bounds those that have yet to say who they are, and maxHalfOpenPerAddr those of them
	// from one IP address. One more closes the one that has taken longest: an honest greeting is over in
	// a moment, and refusing newcomers instead would let those who say nothing keep everybody out.
	maxHalfOpen        = 256
	maxHalfOpenPerAddr = 64
	// maxCrowdedOut is how many of one IP address are closed so until it counts as one offence. A hundred
	// honest clients that start at the same moment are none.
	maxCrowdedOut = 64
)

// maxCallsPerConn bounds the calls in flight on a connection. When it ends they all do, and no other
// connection's calls should have to wait for so many to notice.
const maxCallsPerConn = 1024

// What the peers of all connections can make this node hold. With the most connections there
// may be, and the reserve of each, it is little more than a gigabyte.
const (
	// clientPoolBytes is shared by clients and, in plaintext, nodes; nodePoolBytes by nodes with a
	// certificate, whom clients cannot crowd out.
	clientPoolBytes = 256 << 20
	nodePoolBytes   = 128 << 20
	// passedOnPoolBytes is for answers of other nodes that are passed on, and passedOnWindow how much of
	// them one session of one node's connection holds.
	passedOnPoolBytes = 256 << 20
	passedOnWindow    = 64 << 20
	// connReserveBytes is what each connection has in any case: about a chunk, or thirty small calls.
	connReserveBytes = 512 << 10
)

// budgets bound the memory behind connections.
type budgets struct{ clients, nodes *mux.Budget }

func newBudgets() budgets {
	return budgets{
		clients: mux.NewBudget(clientPoolBytes, connReserveBytes),
		nodes:   mux.NewBudget(nodePoolBytes, connReserveBytes),
	}
}

// shares are what the connections from one IP address have of each.
type shares struct{ clients, nodes *mux.Share }

// of is the share of a caller's connection.
func (s shares) of(who caller) *mux.Share {
	if who.secure && who.Role == pki.RoleNode {
		return s.nodes
	}
	return s.clients
}

// census counts the accepted connections.
type census struct {
	budgets   budgets
	standings *standings

	mu     sync.Mutex
	closed bool                     // Guarded by mu.
	conns  map[net.Conn]*acceptance // Guarded by mu. Those not closed yet.
	from   map[string]*headcount    // Guarded by mu. What there is from each machine.
	half   list.List                // Guarded by mu. Of net.Conn: those half open, in the order of their coming.
	kept   reserve                  // Guarded by mu.
}

// acceptance is one accepted connection.
type acceptance struct {
	addr string // see machine
	// Its places among those that have yet to say who they are, of all and of this address; nil: it has.
	half, halfOfAddr *list.Element
	gate             *list.Element // its place in reserve.gate; nil: it found room among all others, or is a node's
	node             string        // whose it is, if it is a node's
}

// headcount is what there is of one machine.
type headcount struct {
	all        int
	nodes      int       // of all, those of nodes
	half       list.List // as in census
	crowdedOut int       // connections closed to make room, not yet held against it. Invariant: < maxCrowdedOut
	shares     shares
}

func newCensus() *census {
	return &census{budgets: newBudgets(), standings: newStandings(), conns: map[net.Conn]*acceptance{}, from: map[string]*headcount{}, kept: newReserve()}
}

// add counts a connection in, or closes it because there are too many or its machine has to wait.
func (c *census) add(nc net.Conn) bool {
	addr := machine(nc.RemoteAddr())
	if !c.standings.admit(addr) {
		hangUp(nc)
		return false
	}
	ok, crowding := c.enter(nc, addr)
	if !ok {
		hangUp(nc)
	}
	if crowding != "" {
		c.standings.offended(crowding, offenceSilent)
	}
	return ok
}

// hangUp closes a connection so that the system keeps nothing of it. The peer finds it reset.
func hangUp(nc net.Conn) {
	if tc, ok := nc.(*net.TCPConn); ok {
		_ = tc.SetLinger(0) // it is for speed
	}
	nc.Close()
}

// enter counts a connection in, if there is room for it. It tells the address that too many were closed of, if
// one more of them had to make room.
func (c *census) enter(nc net.Conn, addr string) (ok bool, crowding string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.from[addr]
	if n == nil {
		n = &headcount{shares: shares{c.budgets.clients.NewShare(), c.budgets.nodes.NewShare()}}
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
	if n.half.Len() >= maxHalfOpenPerAddr {
		oldest = n.half.Front()
	} else if c.half.Len() >= maxHalfOpen {
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

// crowdOutLocked closes a half-open connection, and tells its address if that makes too many.
func (c *census) crowdOutLocked(nc net.Conn) (crowding string) {
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

// settleLocked takes a connection from those that are half open.
func (c *census) settleLocked(a *acceptance) {
	if a.half != nil {
		c.half.Remove(a.half)
		c.from[a.addr].half.Remove(a.halfOfAddr)
		a.half, a.halfOfAddr = nil, nil
	}
}

// share is a connection's share of the memory, nil for one that was closed meanwhile.
func (c *census) share(nc net.Conn, who caller) *mux.Share {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.conns[nc]
	if !ok {
		return nil
	}
	return c.from[a.addr].shares.of(who)
}

// greeted tells that a connection has said who it is, and which node's it is, if it is one's. It is false for one that
// was closed meanwhile, and for one that there is no room for.
func (c *census) greeted(nc net.Conn, node string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.conns[nc]
	if !ok {
		return false
	}
	c.settleLocked(a)
	return c.seatLocked(a, node)
}

// remove counts a connection out, if it has not been yet.
func (c *census) remove(nc net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removeLocked(nc)
}

func (c *census) removeLocked(nc net.Conn) {
	a, ok := c.conns[nc]
	if !ok {
		return
	}
	c.settleLocked(a)
	c.leaveReserveLocked(a)
	delete(c.conns, nc)
	n := c.from[a.addr]
	if n.all--; n.all == 0 {
		delete(c.from, a.addr)
	}
}

// offended notes that a connection ended for what its peer did.
func (c *census) offended(nc net.Conn, why offence) {
	c.standings.offended(machine(nc.RemoteAddr()), why)
}

// count is how many connections there are, and how many of them are half open.
func (c *census) count() (all, half int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.conns), c.half.Len()
}

// crowd is how many connections there are, of all addresses and of the one that has most.
type crowd struct {
	all, half, allOfOne, halfOfOne int // but those of nodes
	nodes                          int
	refused                        uint64 // since the start
}

func (c *census) crowd() crowd {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := crowd{all: len(c.conns) - c.kept.nodes, half: c.half.Len(), nodes: c.kept.nodes, refused: c.kept.refused}
	for _, n := range c.from {
		now.allOfOne, now.halfOfOne = max(now.allOfOne, n.all-n.nodes), max(now.halfOfOne, n.half.Len())
	}
	return now
}

// close closes all connections, and those to come.
func (c *census) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for nc := range c.conns {
		nc.Close()
	}
}
