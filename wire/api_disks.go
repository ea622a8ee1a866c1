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
	State   string `json:"state"`             // ok, draining, failed or missing
	Why     string `json:"why,omitempty"`     // of a disk that is given up
	Refuses string `json:"refuses,omitempty"` // why it takes nothing
	Free    uint64 `json:"free_bytes"`        // for extents, beside the reserve
	Total   uint64 `json:"total_bytes"`
	Reserve uint64 `json:"reserve_bytes"`
	Used    uint64 `json:"used_bytes"` // by extents
	Extents int    `json:"extents"`
}

// States of a disk.
const (
	DiskOK       = "ok"
	DiskDraining = "draining"
	DiskFailed   = "failed"
	DiskMissing  = "missing"
)

// DiskStates are all states of a disk.
func DiskStates() []string { return []string{DiskOK, DiskDraining, DiskFailed, DiskMissing} }
