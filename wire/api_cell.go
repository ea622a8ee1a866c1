package wire

// What a cell says of its nodes and of itself: see api.go for how bodies are encoded.

// Node describes a node.
type Node struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	ID          string `json:"id"`
	Addr        string `json:"addr"`
	State       string `json:"state"` // "joining", "up", "down"
	Mode        string `json:"mode"`  // "active", "decommissioning", "decommissioned"
	Voter       bool   `json:"voter"`
	Leader      bool   `json:"leader"`
	Replicas    int    `json:"replicas"`
	Dropping    int    `json:"dropping"` // files that must go and are not confirmed gone
	Incarnation uint64 `json:"incarnation"`
	Since       int64  `json:"since_micros"`
	Operation   string `json:"operation,omitempty"` // its open decommission
	Remaining   int    `json:"remaining,omitempty"` // replicas left to move
	Blocked     string `json:"blocked,omitempty"`   // what holds the decommission up
	SafeRemove  bool   `json:"safe_to_remove"`
	Free        uint64 `json:"free_bytes"`        // that extents may still take on its disk, as it last said
	Total       uint64 `json:"total_bytes"`       // of its disk; 0: it has not said
	Refuses     string `json:"refuses,omitempty"` // why it takes no replicas now
	// Copies that are read there, or taken from there, and copies that are written there, as far as it is known where.
	SourceQueued  int `json:"source_queued"`
	SourceRunning int `json:"source_running"`
	TargetQueued  int `json:"target_queued"`
	TargetRunning int `json:"target_running"`

	// Largest is what an extent may take on the one of its disks that has most left. 0: it has one, or has not said.
	Largest uint64 `json:"largest_free_bytes,omitempty"`
	// Disks are those that are not ok, by ID, as it last said.
	Disks []NodeDisk `json:"disks,omitempty"`

	Paused []NodePause `json:"paused,omitempty"` // one, while it is
}

// NodeDisk is a disk of a node that is not ok.
type NodeDisk struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node  string `json:"node"`
	Disk  string `json:"disk"`
	State string `json:"state"`                  // one of DiskStates
	Why   string `json:"why,omitempty"`          // of a disk that was given up
	Since int64  `json:"since_micros,omitempty"` // of the state, by the cell's time
}

// Todo says what a person is to do about it.
func (d NodeDisk) Todo() string {
	switch d.State {
	case DiskDraining:
		return "datanode disk ls --node " + d.Node + " shows how far it is"
	case DiskDrained:
		return "safe to remove: datanode disk replace " + d.Node + " " + d.Disk
	case DiskFailed:
		return "what it has is repaired elsewhere; restart " + d.Node + " to try it again, or give it up with " +
			"datanode disk replace " + d.Node + " " + d.Disk
	case DiskMissing:
		return "what it had is repaired elsewhere; bring it back and restart " + d.Node + ", or give it up with " +
			"datanode disk replace " + d.Node + " " + d.Disk
	}
	return "see datanode disk ls --node " + d.Node
}

// NodesReply lists the nodes by ID.
type NodesReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Nodes []Node
}

// Status describes the cell as the asked node sees it.
type Status struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Cell     string `json:"cell"`
	Node     string `json:"node"`
	Leader   string `json:"leader"`
	Term     uint64 `json:"term"`
	Applied  uint64 `json:"applied"`
	Commit   uint64 `json:"commit"`
	Chain    string `json:"chain"` // hex, at Applied
	Ready    bool   `json:"ready"`
	Extents  int    `json:"extents"`
	Replicas int    `json:"replicas"`
	Nodes    int    `json:"nodes"`
	Up       int    `json:"nodes_up"`
	Queued   int    `json:"queued"`
	Running  int    `json:"running"`
	Dropping int    `json:"dropping"`
	Lacking  int    `json:"lacking"` // open and sealed extents with fewer whole live replicas than wanted
	Policy   string `json:"policy"`
	Digest   string `json:"policy_digest"`
	Epoch    uint64 `json:"policy_epoch"`
	Version  string `json:"version"`
	Refuses  string `json:"refuses,omitempty"` // why the asked node takes no replicas and no appends
	Free     uint64 `json:"free_bytes"`        // that extents may still take on its disk
	Total    uint64 `json:"total_bytes"`       // of its disk; 0: it cannot tell

	Voters []Voter `json:"voters"` // of the log
	// Since is from when on the asked node has known of no leader, by its own clock. 0: it knows one.
	Since int64 `json:"no_leader_since_micros,omitempty"`
	// Parted are the nodes whose history of the cell is not the leader's, as far as the node that answers knows.
	Parted []Parted `json:"parted,omitempty"`
	// Quotas are what is used of them, as far as the asked node knows.
	Quotas []QuotaUsage `json:"quotas,omitempty"`

	// Open operations by kind, by class of their extents, and copies by node; of classes the largest, and the rest
	// together.
	ByKind  []OpCount     `json:"operations_by_kind"`
	ByClass []OpCount     `json:"operations_by_class"`
	ByNode  []NodeOpCount `json:"operations_by_node"`

	// Disks are those of all nodes that are not ok, as the asked node knows.
	Disks []NodeDisk `json:"disks,omitempty"`
	// Paused are the nodes that are.
	Paused []NodePause `json:"paused,omitempty"`

	// Kept are the deleted extents that undelete brings back, and KeptBytes what all their files take.
	Kept      int    `json:"kept"`
	KeptBytes uint64 `json:"kept_bytes"`
}

// OpCount counts the open operations of one sort.
type OpCount struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	// Name of the kind or class; "" is the class of extents without one, "other" that of all that are not named.
	Name    string `json:"name"`
	Queued  int    `json:"queued"`
	Running int    `json:"running"`
}

// NodeOpCount counts the copies of one node, as in Node.
type NodeOpCount struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node          string `json:"node"`
	SourceQueued  int    `json:"source_queued"`
	SourceRunning int    `json:"source_running"`
	TargetQueued  int    `json:"target_queued"`
	TargetRunning int    `json:"target_running"`
}

// NoLimit is in place of how much a quota allows, where that does not matter.
const NoLimit = -1

// QuotaUsage is what is kept of a class, or for an identity, that has a quota. Bytes count once, however many replicas
// they have.
type QuotaUsage struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	By          string `json:"by"` // "class", "identity"
	Name        string `json:"name"`
	Bytes       uint64 `json:"bytes"`
	MostBytes   int64  `json:"most_bytes"` // -1: any number
	Extents     uint64 `json:"extents"`
	MostExtents int64  `json:"most_extents"` // -1: any number
}

// Voter is a node that has a vote in the log, and whether it can be heard.
type Voter struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node    string `json:"node"`
	Addr    string `json:"addr"`
	Answers bool   `json:"answers"` // without a leader: to the asked node, just now; with one: it is up
}
