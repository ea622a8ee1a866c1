package node

import (
	"container/list"
	"net"
	"net/netip"

	"github.com/datanode/datanode/pki"
)

// Nodes find room also when clients have taken all that they may, on the same machine too: who comes then is let in
// just far enough to say who it is.
const (
	// maxNodeConns bounds the connections of nodes, raft's among them, and maxConnsPerNode those of one.
	maxNodeConns    = 256
	maxConnsPerNode = 64
	// maxGate bounds the connections beyond maxConns or maxConnsPerAddr that have yet to say who they are, and
	// maxGatePerAddr those of them from one IP address. One more closes the oldest.
	maxGate        = 32
	maxGatePerAddr = 8
)

// reserve is the connections that clients leave room for. It belongs to a census, and is guarded by its lock.
type reserve struct {
	// mayBeNode tells whether a connection from a machine may turn out to be a node's.
	mayBeNode func(addr string) bool
	gate      list.List      // of net.Conn: beyond what clients may have, in the order of their coming
	nodes     int            // connections of nodes. Invariant: the sum over ofNode
	ofNode    map[string]int // by ID
	refused   uint64         // connections that there was no room for, since the start
}

func newReserve() reserve {
	return reserve{mayBeNode: func(string) bool { return false }, ofNode: map[string]int{}}
}

// fullLocked tells whether there is room for nodes only, on this node or for an address.
func (c *census) fullLocked(n *headcount) bool {
	return len(c.conns)-c.kept.nodes >= maxConns || n.all-n.nodes >= maxConnsPerAddr
}

// crowdGateLocked makes room at the gate. It is nobody's offence: an honest client cannot know that there is none left
// for it, and a node at its address would have to wait for that.
func (c *census) crowdGateLocked(addr string) {
	var oldest, ofAddr net.Conn
	mine := 0
	for e := c.kept.gate.Front(); e != nil; e = e.Next() {
		nc := e.Value.(net.Conn) //nolint:forcetypeassert // there is nothing else in it
		if oldest == nil {
			oldest = nc
		}
		if c.conns[nc].addr != addr {
			continue
		}
		if mine++; ofAddr == nil {
			ofAddr = nc
		}
	}
	out := oldest
	if mine >= maxGatePerAddr {
		out = ofAddr
	} else if c.kept.gate.Len() < maxGate {
		return
	}
	c.kept.refused++
	c.removeLocked(out)
	out.Close()
}

// seatLocked gives a connection its place among those of the nodes, or of all others.
func (c *census) seatLocked(a *acceptance, node string) bool {
	atGate := a.gate != nil
	c.leaveReserveLocked(a)
	n := c.from[a.addr]
	switch {
	case node != "" && (c.kept.nodes >= maxNodeConns || c.kept.ofNode[node] >= maxConnsPerNode),
		// It counts itself.
		node == "" && atGate && (len(c.conns)-c.kept.nodes > maxConns || n.all-n.nodes > maxConnsPerAddr):
		c.kept.refused++
		return false
	case node != "":
		a.node = node
		c.kept.nodes++
		c.kept.ofNode[node]++
		n.nodes++
	}
	return true
}

// leaveReserveLocked takes a connection from the gate, and from those of its node.
func (c *census) leaveReserveLocked(a *acceptance) {
	if a.gate != nil {
		c.kept.gate.Remove(a.gate)
		a.gate = nil
	}
	if a.node == "" {
		return
	}
	c.kept.nodes--
	c.from[a.addr].nodes--
	if c.kept.ofNode[a.node]--; c.kept.ofNode[a.node] == 0 {
		delete(c.kept.ofNode, a.node)
	}
	a.node = ""
}

// whose is the node that a connection is of, empty for none. claimed is what it says of itself: a certificate proves it;
// in plaintext it is taken from where the cell has nodes.
func (l *listener) whose(nc net.Conn, who caller, claimed string) string {
	switch {
	case who.secure && who.Role == pki.RoleNode:
		return who.Name
	case who.secure || claimed == "" || !l.nodesFrom(machine(nc.RemoteAddr())):
		return ""
	}
	return claimed
}

// mayBeNode tells whether a connection from a machine may turn out to be a node's. With TLS that is proven before
// anything else.
func (l *listener) mayBeNode(addr string) bool { return l.secure != nil || l.nodesFrom(addr) }

// hasNodes tells whether the cell has a node on a machine, as far as this node's log, or who started it, knows. Only
// those that are known by their IP address count.
func (n *Node) hasNodes(addr string) bool {
	is := func(node string) bool {
		ap, err := netip.ParseAddrPort(node)
		return err == nil && machine(net.TCPAddrFromAddrPort(ap)) == addr
	}
	if servers, err := n.members(); err == nil {
		for _, s := range servers {
			if is(s.Addr) {
				return true
			}
		}
	}
	for _, p := range n.cfg.Bootstrap {
		if is(p.Addr) {
			return true
		}
	}
	for _, join := range n.cfg.Join {
		if is(join) {
			return true
		}
	}
	return false
}
