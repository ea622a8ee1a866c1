package connlimit

import (
	"container/list"
	"net"
)

// Nodes find room also when clients have taken all that they may, on the same Machine too: who comes then is
// heard just long enough to say who it is.
const (
	// MaxNodeConns bounds the connections of nodes, raft's among them, and MaxConnsPerNode those of one.
	MaxNodeConns    = 256
	MaxConnsPerNode = 64
	// maxGate bounds the connections beyond MaxConns or MaxConnsPerAddr that have not yet said who they are, and
	// maxGatePerAddr those of them from one IP address. One more closes the oldest.
	maxGate        = 32
	maxGatePerAddr = 8
)

// reserve is the connections that clients leave room for. It belongs to a Limits, and is guarded by its lock.
type reserve struct {
	// mayBeNode reports whether a connection from a machine may turn out to be a node's.
	mayBeNode func(addr string) bool
	gate      list.List      // of net.Conn: beyond what clients may have, in the order of their coming
	nodes     int            // connections of nodes. Invariant: the sum over ofNode
	ofNode    map[string]int // by ID
	refused   uint64         // connections that there was no room for, since the start
}

func newReserve(mayBeNode func(machine string) bool) reserve {
	if mayBeNode == nil {
		mayBeNode = func(string) bool { return false }
	}
	return reserve{mayBeNode: mayBeNode, ofNode: map[string]int{}}
}

// fullLocked reports whether there is room for nodes only, on this node or for an address.
func (c *Limits) fullLocked(n *headcount) bool {
	return len(c.conns)-c.kept.nodes >= MaxConns || n.all-n.nodes >= MaxConnsPerAddr
}

// crowdGateLocked makes room at the gate. It is nobody's offence: an honest client cannot know that there is none left
// for it, and a node at its address would have to wait for that.
func (c *Limits) crowdGateLocked(addr string) {
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
func (c *Limits) seatLocked(a *acceptance, node string) bool {
	atGate := a.gate != nil
	c.leaveReserveLocked(a)
	n := c.from[a.addr]
	switch {
	case node != "" && (c.kept.nodes >= MaxNodeConns || c.kept.ofNode[node] >= MaxConnsPerNode),
		// It counts itself.
		node == "" && atGate && (len(c.conns)-c.kept.nodes > MaxConns || n.all-n.nodes > MaxConnsPerAddr):
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
func (c *Limits) leaveReserveLocked(a *acceptance) {
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
