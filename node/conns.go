package node

import (
	"cmp"
	"context"
	"slices"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// isNode tells the nodes of the cell, as this node's log has it: none before it is open.
func (n *Node) isNode(id string) bool {
	group := n.group.Load()
	return group != nil && group.View().Node(state.NodeID(id)) != nil
}

// serveConns answers all who ask at once with one stock: taking it looks at every call in flight, theirs too.
func (n *Node) serveConns(_ context.Context, c *mux.ServerCall) error {
	reply, err, _ := n.stocktaking.Do("", func() (any, error) {
		reply := wire.ConnsReply{Node: string(n.id)}
		for _, conn := range n.stock.take() {
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
		Peer: c.peer, Role: string(c.role), Remote: s.Remote, Direction: string(c.direction), Protocol: string(c.protocol), Since: s.Since.UnixMicro(),
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
