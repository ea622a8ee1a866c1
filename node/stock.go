package node

import (
	"cmp"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// connection is one of the node's open connections, as conns and the metrics show it.
type connection struct {
	peer      string // node ID; else the name in the certificate, or "client"; "unknown" for a raft stream to nobody knows whom
	role      pki.Role
	direction direction
	protocol  protocol
	stats     mux.Stats // of a raft stream only where it leads, since when, and bytes

	cert *pki.Conn         // what tells whose certificate it rests on; nil in plaintext
	end  func(*wire.Error) // ends it because of that certificate
}

type (
	direction string
	protocol  string
)

const (
	directionIn    direction = "in"
	directionOut   direction = "out"
	protocolFrames protocol  = "frames"
	protocolRaft   protocol  = "raft"
)

// wireGroup is who the connections of one sample of the metrics are with.
type wireGroup struct {
	peer      string // a node of the cell, or "client", or "unknown"
	role      pki.Role
	direction direction
	protocol  protocol
}

// traffic is what went over connections.
type traffic struct{ received, sent, stalls uint64 }

// counted is a connection as the stock sees it.
type counted interface{ Stats() mux.Stats }

// stock is the node's open connections, accepted and dialed, frames and raft, and what has gone over all that there
// ever were. Its methods may be called from any goroutine.
type stock struct {
	isNode func(string) bool // tells the nodes of the cell
	now    func() time.Time

	mu   sync.Mutex
	open map[counted]*stocked // Guarded by mu.
	// totals are what the groups' connections have done since the node started, those that have ended among them. A
	// connection adds to the group that it is in at the time, so that no total ever falls, also when a node is let in or
	// removed. There are no more groups than the cell has had nodes, by a few. Guarded by mu.
	totals map[wireGroup]traffic
}

// stocked is a connection in stock.
type stocked struct {
	connection         // without stats
	counted    traffic // Guarded by stock.mu. What it has added to totals.
	ending     bool    // Guarded by stock.mu. Its certificate is not good any more.
}

func newStock() *stock {
	return &stock{
		isNode: func(string) bool { return false }, now: time.Now,
		open: map[counted]*stocked{}, totals: map[wireGroup]traffic{},
	}
}

// add takes a connection in. ended is to be called when nothing goes over it any more; more calls do nothing.
func (s *stock) add(c counted, what connection) (ended func()) {
	entry := &stocked{connection: what}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[c] = entry
	return func() {
		s.count(entry, c.Stats())
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, c)
	}
}

// count adds what has gone over a connection since it was counted last.
func (s *stock) count(entry *stocked, stats mux.Stats) {
	g := s.group(&entry.connection)
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.totals[g]
	t.received += advance(&entry.counted.received, stats.BytesIn)
	t.sent += advance(&entry.counted.sent, stats.BytesOut)
	t.stalls += advance(&entry.counted.stalls, stats.CreditStalls)
	s.totals[g] = t
}

// advance moves a count to where it is now, and tells by how much. Who took stock earlier may come later.
func advance(counted *uint64, now uint64) uint64 {
	from := *counted
	*counted = max(from, now)
	return *counted - from
}

// group is where the metrics count a connection. Names that a stranger can choose would have no bound.
func (s *stock) group(c *connection) wireGroup {
	g := wireGroup{"client", c.role, c.direction, c.protocol}
	switch {
	case s.isNode(c.peer):
		g.peer = c.peer
	case c.protocol == protocolRaft:
		g.peer = "unknown"
	}
	return g
}

// take takes stock of all open connections, in the order of a list for people. It holds no lock while it looks at
// one, which may have a thousand calls: others come and go meanwhile.
func (s *stock) take() []connection {
	s.mu.Lock()
	open := maps.Clone(s.open)
	s.mu.Unlock()
	all := make([]connection, 0, len(open))
	for c, entry := range open {
		now := entry.connection
		now.stats = c.Stats()
		s.count(entry, now.stats)
		all = append(all, now)
	}
	slices.SortFunc(all, func(a, b connection) int {
		return cmp.Or(cmp.Compare(a.direction, b.direction), cmp.Compare(a.peer, b.peer), cmp.Compare(a.protocol, b.protocol),
			cmp.Compare(a.stats.Remote, b.stats.Remote))
	})
	return all
}

// sums are the totals as of the last time that stock was taken, or later.
func (s *stock) sums() map[wireGroup]traffic {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.totals)
}

// stream takes a raft stream in, until it is closed.
func (s *stock) stream(nc net.Conn, peer string, role pki.Role, d direction) *countedStream {
	r := &countedStream{Conn: nc, since: s.now()}
	what := connection{peer: cmp.Or(peer, "unknown"), role: role, direction: d, protocol: protocolRaft}
	if tc, ok := nc.(*pki.Conn); ok {
		what.cert = tc
		what.end = func(*wire.Error) { tc.NetConn().Close() } // raft finds it broken, and closes it
	}
	r.ended = s.add(r, what)
	return r
}

// countedStream is a raft stream whose bytes are counted.
type countedStream struct {
	net.Conn
	since   time.Time
	in, out atomic.Uint64
	ended   func()
}

// Read implements net.Conn.
func (r *countedStream) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.in.Add(uint64(n))
	return n, err
}

// Write implements net.Conn.
func (r *countedStream) Write(p []byte) (int, error) {
	n, err := r.Conn.Write(p)
	r.out.Add(uint64(n))
	return n, err
}

// Close implements net.Conn.
func (r *countedStream) Close() error {
	err := r.Conn.Close()
	r.ended()
	return err
}

// Stats implements counted.
func (r *countedStream) Stats() mux.Stats {
	return mux.Stats{Remote: r.RemoteAddr().String(), Since: r.since, BytesIn: r.in.Load(), BytesOut: r.out.Load()}
}
