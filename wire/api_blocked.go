package wire

// BlockedRequest lists what waits: first what is no operation yet, then queued operations, oldest first.
type BlockedRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	After string // operation ID; empty: from the start
	Limit int    // 0: the server's
}

// Blocked is something that does not start.
type Blocked struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Op     string `json:"op,omitempty"` // empty: there is no operation yet, and Count replicas on Node wait
	Kind   string `json:"kind"`
	Extent uint64 `json:"extent,omitempty"`
	Node   string `json:"node,omitempty"`
	Count  int    `json:"replicas,omitempty"`
	// Reason is operation, serial, quiet-window, backoff, paused-node, limit, place, node or repair-delay.
	Reason string `json:"reason"`
	Why    string `json:"why"`
	Since  int64  `json:"since_micros"`
	Until  int64  `json:"until_micros,omitempty"` // when it ends by itself; 0: nobody can tell
}

// BlockedReply answers a BlockedRequest.
type BlockedReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Blocked []Blocked
	Next    string // ask again after this operation; empty: that was all
}
