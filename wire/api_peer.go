package wire

// JoinRequest brings a node into the cell, or records where it now listens.
type JoinRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node        string
	Addr        string
	Incarnation uint64
	// Cell is the cell that the node's folder belongs to, empty for a new folder.
	Cell string
	// Level is that of the log's commands which the node's build carries out; 0 is the first.
	Level uint8
	// Last is the last entry that the node's log held when it started. One that is lower than what the cell has
	// seen the node apply says that the folder is older than what the cell counts on.
	Last uint64
	// Before are the incarnations that last ran in the node's folder, the newest first. If the one that the cell knows
	// is not among them, the folder is older than what the cell counts on.
	Before []uint64
}

// JoinReply names the cell.
type JoinReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Cell string
	// Members are the IDs of the nodes in the log's group now. A node that was away for long may know
	// none of those that lead today.
	Members []string
}

// Heartbeat is what a node reports to the leader, a few times a second.
type Heartbeat struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node        string
	Addr        string
	Incarnation uint64
	Applied     uint64
	Ready       bool     // has caught up, its store works
	Running     []Lease  // attempts that it is working on
	Compiled    []string // digests of the policies that it could run
	Level       uint8    // as in JoinRequest
	Chain       []byte   // of the log at Applied, 32 bytes
	Free        uint64   // bytes that extents may still take on its disk, which is what its reserve leaves
	Total       uint64   // bytes of that disk
	Refuses     string   // why it takes neither replicas nor appends now; empty: it does
	Parted      bool     // it stops: its history, which has Chain at Applied, is not that of who leads
	Serving     bool     // it is serving clients their bytes at this moment
	Unsealed    []Unsealed
	Number      uint64     // rises with each heartbeat of this run: what an older one says of Unsealed is no news
	Largest     uint64     // bytes that an extent may take on the one disk that has most left; 0: Free, or it has not said
	Disks       []NodeDisk // its disks that are not ok, by ID; Since is 0
}

// Lease is one attempt that is being worked on.
type Lease struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Op    uint64
	Fence uint64
}

// HeartbeatReply is the leader's answer.
type HeartbeatReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Leader  string
	Commit  uint64 // a node that has applied this has caught up
	Known   bool   // false: join again, the cell knows another incarnation, address or level
	Chain   []byte // the leader's own, at the index that the heartbeat names; empty when it no longer knows it
	Parted  []Parted
	Serving []string // nodes that were serving clients when they were last heard of
	// Unsealed is what the other nodes hold, while there are quotas.
	Unsealed []Unsealed
}

// Unsealed is bytes that count for a quota and that the log does not count yet.
type Unsealed struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Extent uint64 // open; 0: none, they have yet to come
	Class  string
	Owner  string
	Bytes  uint64
}

// Parted is a node whose history of the cell is not the leader's.
type Parted struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node   string `json:"node"`
	Index  uint64 `json:"index"`  // at which they were compared; the first difference lies there or before
	Ours   string `json:"ours"`   // the leader's chain there, in hex
	Theirs string `json:"theirs"` // the node's
}

// ProposeRequest brings encoded commands to the leader: the body of a log entry.
type ProposeRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Commands []byte
}

// ProposeReply says what each came to.
type ProposeReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Index   uint64
	Results []ProposeResult
}

// ProposeResult is one command's result.
type ProposeResult struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Stale  bool
	Code   Code // 0: carried out
	Detail string
}

// ReplicaCreate asks a replica for a durable empty file. The fence is in the header.
type ReplicaCreate struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Extent uint64
	Op     uint64
	Birth  uint32 // of the extent
}

// ReplicaAppend carries bytes from the primary to another replica, in the raw part. The fence in
// the header is the extent's epoch. The reply is empty and means: durable.
type ReplicaAppend struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Extent uint64
	Offset uint64
	Birth  uint32 // of the extent; 0: not known
	// Parts are the lengths of what follows each other in the raw part, and so what a record does not reach beyond.
	// Empty: it is one. A replica that does not know of parts holds the same bytes, in larger records.
	Parts []uint32
}

// ReplicaFence asks a replica to refuse appends from now on and to say how far it got, on behalf of
// the seal whose fence is in the header.
type ReplicaFence struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Extent uint64
	Op     uint64
	Seal   bool   // second step: cut to Length and answer its sum
	Length uint64 // of the second step
	// Votes says that the caller counts floors, cuts and what is unsound: a replica whose file cannot be used
	// answers too then, instead of failing.
	Votes bool
}

// ReplicaLength answers ReplicaFence and ReplicaSum.
type ReplicaLength struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Length uint64
	Sum    uint32
	// Floor is how many bytes of the extent the replica knows to be acknowledged: no seal may cut below.
	Floor uint64
	// Cut says that the length may fall short of what was once here: the file's end was not sound when it was
	// opened, or the store is older than what the cell has seen of it.
	Cut bool
	// Unsound is why bytes below Length cannot all be read; empty when they can.
	Unsound string
	// Sound is how many bytes from the first on can be read, as far as that is known without reading them.
	Sound uint64
}

// ReplicaRead asks the source of a copy for a range; the bytes come as chunks.
type ReplicaRead struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Extent uint64
	Op     uint64
	Offset uint64
	Length uint64
	Birth  uint32 // of the extent; 0: not known
}

// ReplicaSum asks a node to read its replica up to Length and answer the sum.
type ReplicaSum struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Extent uint64
	Length uint64
	Birth  uint32 // of the extent; 0: not known
}
