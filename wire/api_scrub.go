package wire

// ScrubRequest asks how far a node's scrub is.
type ScrubRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node   string // empty: the asked one
	Extent uint64 // of whose replica there the date is wanted, too; 0: none
}

// ScrubReply answers a ScrubRequest. Times are microseconds since 1970 by the node's own clock, 0 for never. A
// replica is verified when it was read in full and was what the log says.
type ScrubReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node     string `json:"node"`
	Pace     uint64 `json:"pace_bytes"`          // a second, at most; 0: it stands still
	Began    int64  `json:"began_micros"`        // the round under way; 0 between rounds
	Done     int    `json:"replicas_done"`       // that this round, or the last, has come to
	Of       int    `json:"replicas"`            // there were when it began
	Full     int64  `json:"last_full_micros"`    // when a round had last read everything
	Log      int64  `json:"log_verified_micros"` // when the operation log was last found to be what it should be
	Bytes    uint64 `json:"bytes"`               // read since the node started
	Damage   uint64 `json:"damage"`              // replicas and logs found damaged since then
	Extent   uint64 `json:"extent,omitempty"`    // that was asked about
	Verified int64  `json:"verified_micros"`     // that node's replica of it
}
