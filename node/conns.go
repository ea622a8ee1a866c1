package node

import (
	"cmp"
	"context"
	"slices"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// connection is one of the node's open connections, as conns and the metrics show it.
type connection struct {
	peer      string // node ID; else the name in the certificate, or "client"
	role      pki.Role
	direction string // "in" or "out"
	stats     mux.Stats
}

// connections takes stock of all.
func (n *Node) connections() []connection {
	var all []connection
	for conn, who := range n.inbound.callers() {
		peer := cmp.Or(conn.Peer().Node, who.Name, "client")
		all = append(all, connection{peer, who.Role, "in", conn.Stats()})
	}
	role := pki.Role("")
	if n.peers.secure != nil {
		role = pki.RoleNode // no other is dialed
	}
	for _, conn := range n.peers.all() {
		all = append(all, connection{conn.Peer().Node, role, "out", conn.Stats()})
	}
	slices.SortFunc(all, func(a, b connection) int {
		return cmp.Or(cmp.Compare(a.direction, b.direction), cmp.Compare(a.peer, b.peer), cmp.Compare(a.stats.Remote, b.stats.Remote))
	})
	return all
}

// serveConns answers all who ask at once with one stock: taking it looks at every call in flight, theirs too.
func (n *Node) serveConns(_ context.Context, c *mux.ServerCall) error {
	reply, err, _ := n.stocktaking.Do("", func() (any, error) {
		reply := wire.ConnsReply{Node: string(n.id)}
		for _, conn := range n.connections() {
			reply.Conns = append(reply.Conns, conn.describe())
		}
		return &reply, nil
	})
	if err != nil {
		return err
	}
	return c.Reply(reply, nil)
}

func (c *connection) describe() wire.Connection {
	s := &c.stats
	out := wire.Connection{
		Peer: c.peer, Role: string(c.role), Remote: s.Remote, Direction: c.direction, Since: s.Since.UnixMicro(),
		BytesIn: s.BytesIn, BytesOut: s.BytesOut, Stalls: s.CreditStalls, Mismatches: s.Mismatches,
		OldestCall: s.InFlight.OldestAge.Microseconds(), InFlight: []wire.Call{}, Sessions: []wire.SessionUse{},
	}
	if s.InFlight.Calls > 0 {
		out.Oldest = s.InFlight.Oldest.Op.String()
	}
	for kind, count := range s.InFlight.ByKind {
		out.InFlight = append(out.InFlight, wire.Call{Op: kind.Op.String(), Session: kind.Session.String(), Count: count})
	}
	slices.SortFunc(out.InFlight, func(a, b wire.Call) int {
		return cmp.Or(cmp.Compare(a.Op, b.Op), cmp.Compare(a.Session, b.Session))
	})
	for _, u := range s.Sessions {
		out.Sessions = append(out.Sessions, wire.SessionUse{
			Session: u.Session.String(), Calls: u.Calls, Credit: u.Credit, Waiting: u.Waiting, Held: u.Held,
		})
	}
	return out
}
