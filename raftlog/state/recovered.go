package state

import "github.com/datanode/datanode/wire"

// Member is a node in the log's group.
type Member struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node  NodeID
	Addr  string
	Voter bool
}

// Recovered records that somebody has changed the log's group by hand, on folders of stopped nodes.
type Recovered struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Members []Member // as they are from then on
	Before  []Member // as they were
	// Lossy says that there was no majority of the voters before, so that entries which only the others had may be
	// lost.
	Lossy  bool
	Micros Micros // when, by the clock where it was done; the cell's time does not follow from it
	Note   string
}

// recovered takes over where the members are, and after a loss that nobody else has a vote. Whoever is there of the
// others will be heard of.
func (s *State) recovered(at moment, c *Recovered) Result {
	if len(c.Members) == 0 {
		return refused(wire.CodeInvalid, "a recovery names the members of the group")
	}
	now := map[NodeID]Member{}
	for _, m := range c.Members {
		now[m.Node] = m
	}
	var changed []*Node
	s.Nodes(func(n *Node) bool {
		m, member := now[n.ID]
		if member && m.Addr != "" && m.Addr != n.Addr || c.Lossy {
			changed = append(changed, n)
		}
		return true
	})
	for _, n := range changed {
		n = n.clone()
		m, member := now[n.ID]
		if member && m.Addr != "" {
			n.Addr = m.Addr
		}
		if c.Lossy {
			n.Voter = m.Voter
			if !m.Voter && n.State != NodeDown {
				n.State, n.SinceMicros = NodeDown, at.now
			}
		}
		s.nodes.Set(n.ID, n)
		if c.Lossy && n.State == NodeDown {
			s.settleDeletes(at, n.ID)
		}
	}
	if c.Lossy {
		s.Era = at.index
	}
	return Result{}
}
