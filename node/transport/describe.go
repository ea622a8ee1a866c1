package transport

import (
	"cmp"
	"slices"

	"github.com/datanode/datanode/wire"
)

// Describe is the connection as the wire has it.
func (c *Connection) Describe() wire.Connection {
	s := &c.Stats
	out := wire.Connection{
		Peer: c.Peer, Role: string(c.Role), Remote: s.Remote, Since: s.Since.UnixMicro(),
		Direction: string(c.Direction), Protocol: string(c.Protocol),
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
