package node

import (
	"net"
	"sync"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire/mux"
)

const (
	// maxConns bounds the accepted connections, raft's among them. One more is closed at once.
	maxConns = 1024
	// maxConnsPerAddr bounds those from one IP address, so that one machine cannot take them all.
	maxConnsPerAddr = 256
	// maxHalfOpen bounds those that have yet to say who they are, and maxHalfOpenPerAddr those of them
	// from one IP address. One more closes the one that has taken longest: an honest greeting is over in
	// a moment, and refusing newcomers instead would let those who say nothing keep everybody out.
	maxHalfOpen        = 256
	maxHalfOpenPerAddr = 64
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
	budgets budgets

	mu     sync.Mutex
	closed bool                     // Guarded by mu.
	conns  map[net.Conn]*acceptance // Guarded by mu. Those not closed yet.
	from   map[string]*headcount    // Guarded by mu. How many there are from each IP address.
	half   int                      // Guarded by mu. How many of all are half open.
	number uint64                   // Guarded by mu. Of the connection accepted last.
}

// acceptance is one accepted connection.
type acceptance struct {
	addr   string // IP address
	number uint64 // in the order of their coming
	half   bool   // has yet to say who it is
}

// headcount is what there is of one IP address.
type headcount struct {
	all, half int
	shares    shares
}

func newCensus() *census {
	return &census{budgets: newBudgets(), conns: map[net.Conn]*acceptance{}, from: map[string]*headcount{}}
}

// add counts a connection in, or closes it because there are too many.
func (c *census) add(nc net.Conn) bool {
	addr := nc.RemoteAddr().String()
	if host, _, err := net.SplitHostPort(addr); err == nil {
		addr = host
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.from[addr]
	if n == nil {
		n = &headcount{shares: shares{c.budgets.clients.NewShare(), c.budgets.nodes.NewShare()}}
	}
	if c.closed || len(c.conns) >= maxConns || n.all >= maxConnsPerAddr {
		nc.Close()
		return false
	}
	c.from[addr] = n
	if n.half >= maxHalfOpenPerAddr {
		c.closeOldestLocked(addr)
	} else if c.half >= maxHalfOpen {
		c.closeOldestLocked("")
	}
	c.number++
	c.conns[nc] = &acceptance{addr: addr, number: c.number, half: true}
	c.countLocked(addr, 1, 1)
	return true
}

func (c *census) countLocked(addr string, all, half int) {
	n := c.from[addr]
	n.all, n.half = n.all+all, n.half+half
	c.half += half
	if n.all == 0 {
		delete(c.from, addr)
	}
}

// closeOldestLocked closes the connection from an address, or any, that has been half open for longest. It
// looks at them all: there are few, and this is rare.
func (c *census) closeOldestLocked(addr string) {
	var oldest net.Conn
	for nc, a := range c.conns {
		if a.half && (addr == "" || a.addr == addr) && (oldest == nil || a.number < c.conns[oldest].number) {
			oldest = nc
		}
	}
	if oldest != nil {
		c.removeLocked(oldest)
		oldest.Close()
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

// greeted tells that a connection has said who it is. It is false for one that was closed meanwhile.
func (c *census) greeted(nc net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.conns[nc]
	if !ok {
		return false
	}
	if a.half {
		a.half = false
		c.countLocked(a.addr, 0, -1)
	}
	return true
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
	delete(c.conns, nc)
	half := 0
	if a.half {
		half = -1
	}
	c.countLocked(a.addr, -1, half)
}

// count is how many connections there are, and how many of them are half open.
func (c *census) count() (all, half int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.conns), c.half
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
