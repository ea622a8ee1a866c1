package state

import "slices"

// NodeState is whether a node takes part. Numbered by hand: part of the snapshot format.
type NodeState uint8

const (
	NodeJoining NodeState = 1 // known, still catching up with the log
	NodeUp      NodeState = 2
	NodeDown    NodeState = 3
)

func (s NodeState) String() string { return name([]string{"", "joining", "up", "down"}, uint8(s)) }

// NodeMode is what the cell means to do with a node.
type NodeMode uint8

const (
	ModeActive          NodeMode = 1
	ModeDecommissioning NodeMode = 2 // takes no new replicas, gives its own away
	ModeDecommissioned  NodeMode = 3 // holds nothing, has no vote: safe to remove
)

func (m NodeMode) String() string {
	return name([]string{"", "active", "decommissioning", "decommissioned"}, uint8(m))
}

// Node is what the cell knows about one node.
type Node struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	ID          NodeID
	Addr        string // host:port of its listener
	Incarnation uint64 // changes at every start of the process
	Voter       bool   // has a vote in the log's group, as the leader last recorded it

	State       NodeState
	SinceMicros Micros // when State last changed
	Mode        NodeMode

	// Decommission is the open or last decommission; 0 when there was none since it became active.
	Decommission OpID
	Ops          []OpID // open operations on the node itself

	Level Level // that its build carries out, as it last said; 0 is LevelFirst

	// Seen is the highest entry that the cell knows this node to have had. A folder whose log ends before it is
	// older than what the cell counts on.
	Seen Index
	// Unproven: its folder was found to be older than that. Nothing that it holds counts until it has been compared.
	Unproven bool

	Free    uint64 // bytes that extents may still take there, as it last said; see TypeNodeRoom
	Total   uint64 // bytes of its disk
	Refuses string // why it takes no replicas now; empty: it does

	Largest uint64     // bytes that an extent may take on the one of its disks that has most left; 0: Free
	Disks   []NodeDisk // those that are not ok, by ID. Never changed in place.

	Pause Paused
}

// NodeDisk is a disk of a node that is not ok, as the node last said.
type NodeDisk struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Disk  string // its ID
	State string // one of wire.DiskStates
	Why   string // it was given up; empty: it was not
	Since Micros // when the cell learned of that state
}

// Room is how many bytes an extent may take there at most, as the node last said; known is false if it has not.
func (n *Node) Room() (bytes uint64, known bool) {
	if n.Largest > 0 {
		return n.Largest, n.Total > 0
	}
	return n.Free, n.Total > 0
}

func (n *Node) clone() *Node {
	c := *n
	c.Ops = slices.Clone(n.Ops)
	return &c
}

// Takes reports whether the node may be given replicas.
func (n *Node) Takes() bool {
	return n.State == NodeUp && n.Mode == ModeActive && n.Refuses == "" && !n.IsPaused()
}

func name(names []string, v uint8) string {
	if int(v) < len(names) && v > 0 {
		return names[v]
	}
	return "unknown"
}
