package state

import (
	"slices"

	"github.com/datanode/datanode/wire"
)

// join records a node. The leader checks that two nodes do not use one ID.
func (s *State) join(at moment, c *Join) Result {
	if c.Node == "" || c.Addr == "" {
		return refused(wire.CodeInvalid, "a node needs an ID and an address")
	}
	if err := s.Welcomes(c.Node, c.Level); err != nil && c.Incarnation != 0 {
		return Result{Err: err}
	}
	n := &Node{ID: c.Node, State: NodeJoining, Mode: ModeActive, SinceMicros: at.now}
	if old := s.Node(c.Node); old != nil {
		n = old.clone()
	}
	if n.Incarnation != c.Incarnation && n.State == NodeUp {
		n.State, n.SinceMicros = NodeJoining, at.now
	}
	n.Addr, n.Incarnation, n.Voter, n.Level = c.Addr, c.Incarnation, c.Voter, c.Level
	n.Seen, n.Unproven = max(n.Seen, c.Seen), n.Unproven || c.Unproven
	s.nodes.Set(n.ID, n)
	return Result{}
}

func (s *State) setNodeState(at moment, c *SetNodeState) Result {
	n := s.Node(c.Node)
	switch {
	case n == nil:
		return refused(wire.CodeNotFound, "there is no node %s", c.Node)
	case c.State < NodeJoining || c.State > NodeDown:
		return refused(wire.CodeInvalid, "a node is joining, up or down, not %d", c.State)
	case c.State == NodeUp && n.Incarnation != c.Incarnation:
		return stale("node %s has restarted", c.Node)
	case n.State == c.State && c.Seen <= n.Seen:
		return Result{}
	}
	n = n.clone()
	n.Seen = max(n.Seen, c.Seen)
	if n.State == c.State {
		s.nodes.Set(n.ID, n)
		return Result{}
	}
	n.State, n.SinceMicros = c.State, at.now
	if c.State == NodeUp {
		n.Unproven = false // it has compared all that it holds, or it would not say that it is ready
	}
	s.nodes.Set(n.ID, n)
	if c.State == NodeDown {
		s.settleDeletes(at, n.ID)
	}
	return Result{}
}

func (s *State) setVoter(c *SetVoter) Result {
	n := s.Node(c.Node)
	if n == nil {
		return refused(wire.CodeNotFound, "there is no node %s", c.Node)
	}
	n = n.clone()
	n.Voter = c.Voter
	s.nodes.Set(n.ID, n)
	return Result{}
}

// setNodeRoom records what a node has said of its disks. It changes nothing about the replicas that are there.
func (s *State) setNodeRoom(at moment, c *NodeRoom) Result {
	n := s.Node(c.Node)
	if n == nil {
		return refused(wire.CodeNotFound, "there is no node %s", c.Node)
	}
	n = n.clone()
	before := n.Disks
	n.Free, n.Total, n.Refuses, n.Largest, n.Disks = c.Free, c.Total, c.Refuses, c.Largest, slices.Clone(c.Disks)
	for i := range n.Disks {
		d := &n.Disks[i]
		d.Since = at.now
		same := func(b NodeDisk) bool { return b.Disk == d.Disk && b.State == d.State }
		if b := slices.IndexFunc(before, same); b >= 0 {
			d.Since = before[b].Since
		}
	}
	s.nodes.Set(n.ID, n)
	return Result{}
}
