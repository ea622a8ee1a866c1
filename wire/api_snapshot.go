package wire

// LogSnapshotsRequest asks a node for the snapshots of its log.
type LogSnapshotsRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node string // empty: the asked node
	Take bool   // take one first; where there is nothing new to put in one, none is
}

// LogSnapshotsReply lists them, oldest first.
type LogSnapshotsReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node      string
	Snapshots []LogSnapshot
}

// LogSnapshot is a snapshot of a node's log.
type LogSnapshot struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	ID      string `json:"id"`
	Index   uint64 `json:"index"` // the last entry that it stands for
	Term    uint64 `json:"term"`
	Applied uint64 `json:"applied"` // the last entry that is in its state
	Chain   string `json:"chain"`   // hex, at Applied
	Micros  int64  `json:"time_micros"`
	Bytes   uint64 `json:"bytes"`
	Level   int    `json:"level"`
	OK      bool   `json:"ok"`
	Aside   bool   `json:"set_aside,omitempty"` // as damaged: the node does not use it
	Detail  string `json:"detail,omitempty"`    // what is wrong with it
}

// MaxSnapshotPiece is how many bytes of a snapshot one reply has at most.
const MaxSnapshotPiece = 256 << 10

// LogSnapshotRequest asks a node for a piece of a snapshot, which is a file of the format in docs/snapshot-format.md.
type LogSnapshotRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node   string
	ID     string // empty: the newest sound one; the reply says which
	Offset uint64
}

// LogSnapshotReply has the bytes from Offset on, as many as fit; none at Size, which is the end.
type LogSnapshotReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node   string
	ID     string
	Offset uint64
	Size   uint64 // of the snapshot
	Data   []byte
}
