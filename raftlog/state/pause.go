package state

import (
	"time"

	"github.com/datanode/datanode/wire"
)

// MaxPause bounds a pause from the moment on that it is asked for. It can be asked for again.
const MaxPause = Micros(24 * time.Hour / time.Microsecond)

// Pause plans a stop of a node, or ends it. While a node is paused it is given no replicas, its open extents are
// sealed, and nothing is repaired because it is down: its whole replicas are to come back. What happens to the node
// meanwhile, restarts included, does not end the pause.
type Pause struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node NodeID
	For  Micros // from the entry's time on; 0 ends a pause
	// Until is when the pause was to end that the cell itself ends: one that has been made longer since goes on. 0:
	// whatever pause there is.
	Until   Micros
	Forced  bool // although the check said that something would be lost
	AskedBy Identity
}

// Paused says that somebody means to stop a node for a while.
type Paused struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Until  Micros // 0: it is not paused
	Since  Micros
	By     Identity
	Forced bool
}

// IsPaused reports whether the node is paused. A pause lasts until an entry ends it.
func (n *Node) IsPaused() bool { return n.Pause.Until != 0 }

func (s *State) pause(at moment, c *Pause) Result {
	n := s.Node(c.Node)
	switch {
	case n == nil:
		return refused(wire.CodeNotFound, "there is no node %s", c.Node)
	case c.For < 0 || c.For > MaxPause:
		return refused(wire.CodeInvalid, "a pause lasts up to %s, not %s", MaxPause.Duration(), c.For.Duration())
	case c.For == 0 && !n.IsPaused():
		return refused(wire.CodePrecondition, "node %s is not paused", c.Node)
	case c.For == 0 && c.Until != 0 && c.Until != n.Pause.Until:
		return stale("the pause of node %s has another end now", c.Node)
	}
	n = n.clone()
	if c.For == 0 {
		n.Pause = Paused{}
		s.nodes.Set(n.ID, n)
		return Result{}
	}
	since := n.Pause.Since
	if !n.IsPaused() {
		since = at.now
	}
	n.Pause = Paused{Until: at.now + c.For, Since: since, By: c.AskedBy, Forced: c.Forced}
	s.nodes.Set(n.ID, n)
	return Result{}
}

// Expected is how many whole replicas of e there are without what was planned: Live, and those of nodes that are
// paused and not up. More than Live are no reason to make copies.
func (v *View) Expected(e *Extent) int {
	count := v.Live(e)
	for _, r := range e.Replicas {
		n := v.Node(r.Node)
		if r.State == ReplicaWhole && n != nil && n.IsPaused() && n.State != NodeUp && !n.Unproven {
			count++
		}
	}
	return count
}

// Unsealed goes through the extents that are being created or open, by ID, until yield answers false.
func (v *View) Unsealed(yield func(*Extent) bool) {
	v.unsealed.Scan(func(id ExtentID, _ struct{}) bool { return yield(v.Extent(id)) })
}
