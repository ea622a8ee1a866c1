package wire

// DisksRequest asks how the disks of a node are.
type DisksRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node string // empty: of the node that is asked
}

// DisksReply answers a DisksRequest.
type DisksReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Disks []Disk `json:"disks"`
}

// Disk is one disk of a node. Sizes are bytes; 0 for Total: nobody can tell.
type Disk struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node    string `json:"node"`
	Disk    string `json:"disk"` // d0 has the operation log
	Dir     string `json:"dir"`
	State   string `json:"state"`             // ok, draining, drained, failed or missing
	Why     string `json:"why,omitempty"`     // of a disk that is given up
	Refuses string `json:"refuses,omitempty"` // why it takes nothing
	Free    uint64 `json:"free_bytes"`        // for extents, beside the reserve
	Total   uint64 `json:"total_bytes"`
	Reserve uint64 `json:"reserve_bytes"`
	Used    uint64 `json:"used_bytes"` // by extents
	Extents int    `json:"extents"`

	// Of one that is drained. Moved is since that began, or since the node started.
	Moved   uint64 `json:"moved_bytes,omitempty"`
	Rate    uint64 `json:"bytes_per_second,omitempty"`
	Blocked string `json:"blocked,omitempty"` // why something on it cannot be moved now
}

// DiskChangeRequest has something done with a disk of a node.
type DiskChangeRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node   string
	Disk   string
	Change string // one of DiskChanges
}

// DiskChangeReply says how the disk is then.
type DiskChangeReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Disk Disk
}

// What can be done with a disk.
const (
	DiskDrain = "drain" // moves all that it has to the other disks of the node
	DiskKeep  = "keep"  // ends that
	// DiskReplace takes out one that is drained, failed or missing, for good.
	DiskReplace = "replace"
)

// DiskChanges are all of them.
func DiskChanges() []string { return []string{DiskDrain, DiskKeep, DiskReplace} }

const (
	// MaxDisks bounds the disks of a node.
	MaxDisks = 64
	// MaxDiskWhyBytes bounds what the cell is told of why a disk is given up, MaxDiskWordBytes its ID and state.
	MaxDiskWhyBytes  = 256
	MaxDiskWordBytes = 16
)

// States of a disk.
const (
	DiskOK       = "ok"
	DiskDraining = "draining"
	DiskDrained  = "drained" // of all that counts: it may be taken out
	DiskFailed   = "failed"
	DiskMissing  = "missing"
	DiskGone     = "gone" // in the answer to a replace: it is none of the node's any more
)

// DiskStates are all states of a disk of a node.
func DiskStates() []string {
	return []string{DiskOK, DiskDraining, DiskDrained, DiskFailed, DiskMissing}
}
