package transport

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// Connection is one of the node's open connections, as conns and the metrics show it.
type Connection struct {
	// Peer is a node's ID; else the name in the certificate, or "client"; "unknown" for a raft stream to nobody knows
	// whom.
	Peer      string
	Role      pki.Role
	Direction Direction
	Protocol  Protocol
	Stats     mux.Stats // of a raft stream only where it leads, since when, and bytes

	cert *pki.Conn         // what shows whose certificate it rests on; nil in plaintext
	end  func(*wire.Error) // ends it because of that certificate
}

// Direction is who has dialed, and Protocol what is spoken. The values are labels of metrics.
type (
	Direction string
	Protocol  string
)

const (
	DirectionIn    Direction = "in"
	DirectionOut   Direction = "out"
	ProtocolFrames Protocol  = "frames"
	ProtocolRaft   Protocol  = "raft"
)

// ConnGroup is who the connections of one sample of the metrics are with.
type ConnGroup struct {
	Peer      string // a node of the cell, or "client", or "unknown"
	Role      pki.Role
	Direction Direction
	Protocol  Protocol
}

// Traffic is what went over connections.
type Traffic struct{ Received, Sent, Stalls uint64 }

// counted is a connection as the table sees it.
type counted interface{ Stats() mux.Stats }

// ConnTable is the node's open connections, accepted and dialed, frames and raft, and what has gone over all that there
// ever were. Its methods may be called from any goroutine.
type ConnTable struct {
	isNode func(string) bool // reports whether a node is of the cell

	mu   sync.Mutex
	open map[counted]*tableEntry // Guarded by mu.
	// totals are what the groups' connections have done since the node started, those that have ended among them. A
	// connection adds to the group that it is in at the time, so that no total ever falls, also when a node is admitted
	// or removed. There are no more groups than the cell has had nodes, by a few. Guarded by mu.
	totals map[ConnGroup]Traffic
}

// tableEntry is a connection in the table.
type tableEntry struct {
	Connection         // without stats
	counted    Traffic // Guarded by ConnTable.mu. What it has added to totals.
	ending     bool    // Guarded by ConnTable.mu. Its certificate is not good any more.
}

func newConnTable(isNode func(string) bool) *ConnTable {
	return &ConnTable{isNode: isNode, open: map[counted]*tableEntry{}, totals: map[ConnGroup]Traffic{}}
}

// add takes a connection in. ended is to be called when nothing goes over it any more; more calls do nothing.
func (t *ConnTable) add(c counted, what Connection) (ended func()) {
	entry := &tableEntry{Connection: what}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open[c] = entry
	return func() {
		t.count(entry, c.Stats())
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.open, c)
	}
}

// count adds what has gone over a connection since it was counted last.
func (t *ConnTable) count(entry *tableEntry, stats mux.Stats) {
	g := t.Group(&entry.Connection)
	t.mu.Lock()
	defer t.mu.Unlock()
	total := t.totals[g]
	total.Received += advance(&entry.counted.Received, stats.BytesIn)
	total.Sent += advance(&entry.counted.Sent, stats.BytesOut)
	total.Stalls += advance(&entry.counted.Stalls, stats.CreditStalls)
	t.totals[g] = total
}

// advance moves a count to where it is now, and gives by how much. Who scanned the table earlier may come later.
func advance(counted *uint64, now uint64) uint64 {
	from := *counted
	*counted = max(from, now)
	return *counted - from
}

// Group is where the metrics count a connection. Names that a stranger can choose would have no bound.
func (t *ConnTable) Group(c *Connection) ConnGroup {
	g := ConnGroup{"client", c.Role, c.Direction, c.Protocol}
	switch {
	case t.isNode(c.Peer):
		g.Peer = c.Peer
	case c.Protocol == ProtocolRaft:
		g.Peer = "unknown"
	}
	return g
}

// Scan looks at all open connections, and gives them in the order of a list for people. It holds no lock while it looks
// at one, which may have a thousand calls: others come and go meanwhile.
func (t *ConnTable) Scan() []Connection {
	t.mu.Lock()
	open := maps.Clone(t.open)
	t.mu.Unlock()
	all := make([]Connection, 0, len(open))
	for c, entry := range open {
		now := entry.Connection
		now.Stats = c.Stats()
		t.count(entry, now.Stats)
		all = append(all, now)
	}
	slices.SortFunc(all, func(a, b Connection) int {
		return cmp.Or(cmp.Compare(a.Direction, b.Direction), cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Protocol, b.Protocol),
			cmp.Compare(a.Stats.Remote, b.Stats.Remote))
	})
	return all
}

// Totals are what has gone over connections as of the last scan, or later.
func (t *ConnTable) Totals() map[ConnGroup]Traffic {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.totals)
}

// acceptedStreams are the open raft streams that others have dialed.
func (t *ConnTable) acceptedStreams() (found []*raftStream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.open {
		if s, ok := c.(*raftStream); ok && s.accepted != nil {
			found = append(found, s)
		}
	}
	return found
}
