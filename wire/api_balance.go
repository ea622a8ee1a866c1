package wire

// BalanceRequest asks which replicas would have to be moved so that the disks of the nodes are as full as each other.
// Nothing is changed.
type BalanceRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Limit int // name so many moves at most; 0, or too many: the server's
}

// BalanceReply is a plan. What is on the way already is counted, and not planned again.
type BalanceReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	When  string        `json:"balance"` // the setting: off, on, once
	Nodes []BalanceNode `json:"nodes"`   // that are up and not being emptied, by ID
	Moves []BalanceMove `json:"moves"`
	More  bool          `json:"more"`            // there may be further moves
	Waits string        `json:"waits,omitempty"` // why none begins now
	Open  int           `json:"open"`            // moves of this kind that are queued or running
	Pace  uint64        `json:"copy_pace"`       // bytes a second that all copies take together; 0: no limit
}

// BalanceNode is how full the disks of a node are, in bytes.
type BalanceNode struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node  string `json:"node"`
	Total uint64 `json:"total_bytes"`
	Used  uint64 `json:"used_bytes"`       // what open moves bring and take counts already
	After uint64 `json:"used_after_bytes"` // after the moves
}

// BalanceMove is a replica that would go to another node.
type BalanceMove struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Extent uint64 `json:"extent"`
	From   string `json:"from"`
	To     string `json:"to"`
	Bytes  uint64 `json:"bytes"`
}
