package wire

// The bodies of requests and replies. Each is a msgpack array of its fields in order; fields are
// only ever added at the end. The JSON names are those of the command line's -o json. Times are
// microseconds since 1970, the cell's time where an operation is concerned. Operation IDs are text:
// "4711" or "4711.3".

// Locator names stored bytes: EXTENT:OFFSET+LENGTH, and the birth of the extent as @BIRTH where it is known.
type Locator struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Extent uint64 `json:"extent"`
	Offset uint64 `json:"offset"`
	Length uint64 `json:"length"`
	// Birth tells the extent from another one that has the same number in another history of the cell; 0: not known.
	Birth uint32 `json:"birth,omitempty"`
	Disks uint8  `json:"disks,omitempty"` // in the answer to a put: on how many disks the bytes are
	Want  uint8  `json:"want,omitempty"`  // in the answer to a put: on how many they should be
}

// PutRequest opens a put: the bytes follow as chunks, unless it is Whole; the reply is a Locator.
type PutRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Class  string
	Length int64  // bytes to come, -1 when not known
	Extent uint64 // 0: the node chooses; otherwise the open extent to append to
	// Whole says that the bytes are the request's raw part, Length of them, and no chunk follows. It is for puts whose
	// extent the node chooses, to nodes with FeatureWholePut.
	Whole bool
}

// ReadRequest opens a read: the bytes come as chunks, or with the reply, which is a ReadReply.
type ReadRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Locator Locator // Length 0 with Whole: all of a sealed extent
	Whole   bool
	Node    string // read this node's replica and no other; empty: any
	// Inline is the most bytes that the caller takes as the raw bytes of the reply, for FeatureReadInline; more come as
	// chunks. 0: all come as chunks.
	Inline uint32
}

// ReadReply ends a read.
type ReadReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Length uint64
	Node   string // whose replica was read
	Sum    uint32 // CRC32C of the bytes, as they were verified at their replicas; with Summed
	Summed bool   // older nodes do not say
}

// SessionRequest opens a client session.
type SessionRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Client string
}

// SessionReply names it.
type SessionReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Session uint64
}

// Submission asks for one operation.
type Submission struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Seq      uint64 // rises within the session; the same Seq is never run twice
	Kind     string // "create", "seal", "repair", "move", "delete", "decommission", "recommission"
	Extent   uint64
	Node     string   // of a decommission or recommission; where a move takes from
	Target   string   // of a move; empty lets the cell choose
	Class    string   // of a create
	Want     uint8    // of a create; 0: the cell's setting
	Replicas []string // of a create; empty lets the cell choose
	Primary  string   // of a create without Replicas: preferred primary
	// of a create without Replicas: nodes that have just failed the caller; used only if there are too few others
	Avoid  []string
	Urgent bool   // of a move, repair or decommission: do not wait for a quiet window to end
	Owner  string // of a create by the cell: role and name of whom it is for; believed of nodes only
	// of a delete: for how long its files are kept, so that undelete brings it back; 0: as the cell's setting says
	GraceMicros uint64
	NoGrace     bool // of a delete: its files go at once, whatever the cell's setting says
}

// SubmitRequest asks for operations. They are decided together, and each succeeds or fails alone.
type SubmitRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Session uint64
	Submit  []Submission
	DryRun  bool
	Force   bool // admit although the leader's check says that it cannot succeed now
	Cell    bool // asked for by the cell itself, not by a client; believed of nodes only
}

// Submitted answers one submission, in the order asked.
type Submitted struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Op     string `json:"op"`
	Extent uint64 `json:"extent,omitempty"`
	Merged bool   `json:"merged,omitempty"`
	Plan   string `json:"plan,omitempty"` // of a dry run: what would happen
	Code   Code   `json:"-"`              // 0: admitted
	Detail string `json:"error,omitempty"`
	Kind   string `json:"kind,omitempty"` // that was asked for; empty from an older node
}

// SubmitReply answers a SubmitRequest.
type SubmitReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Results []Submitted
}

// NodeRemoveRequest takes a node out of the cell.
type NodeRemoveRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node   string
	Force  bool // although it was not decommissioned, or is up
	DryRun bool // only check, and answer the plan
}

// NodeRemoveReply says what was done, or would be.
type NodeRemoveReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Plan string
}

// CancelRequest ends an operation.
type CancelRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Op string
}

// UndeleteRequest brings back an extent that was deleted with grace. The answer is the Extent.
type UndeleteRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Extent uint64
	Birth  uint32 // of the extent that is meant; 0: of whichever has the number
}

// ReorderRequest puts a queued operation before others of its kind, which must be one of which one runs at a time. The
// reply is an Op.
type ReorderRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Op     string
	Before string // operation ID; empty: before all others
}

// OpsRequest lists operations, oldest first.
type OpsRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	After  string // operation ID; empty: from the start
	Open   bool   // only queued and running ones
	Extent uint64 // only this extent's
	Limit  int    // 0: the server's
}

// Conflict is one verdict of a decision.
type Conflict struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	With      string `json:"with"`
	Kind      string `json:"kind"`
	Asked     string `json:"asked"` // what the policy answered
	Verdict   string `json:"verdict"`
	Overruled bool   `json:"overruled"`
	Reason    string `json:"reason"`
}

// Fact is one fact that a decision was made from.
type Fact struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Name  string `json:"name"`
	Value string `json:"value"`
}

// Decision is what was decided about an operation.
type Decision struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Policy    string     `json:"policy"` // name and version, if the node knows them
	Digest    string     `json:"digest"`
	Epoch     uint64     `json:"epoch"`
	Priority  int32      `json:"priority"`
	Reason    string     `json:"reason"`
	Cost      uint64     `json:"cost"`
	Fallback  string     `json:"fallback,omitempty"`
	Facts     []Fact     `json:"facts,omitempty"` // not in lists
	Conflicts []Conflict `json:"conflicts,omitempty"`

	Config map[string]string `json:"config,omitempty"` // of the policy, which its digest covers; not in lists
	// metered work that the batch was allowed; 0 where it is not counted
	Budget uint64 `json:"budget,omitempty"`
}

// Step is one event in the life of an operation.
type Step struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Index  uint64 `json:"index"`
	Micros int64  `json:"time_micros"`
	State  string `json:"state"`
	Note   string `json:"note"`
}

// Op describes an operation.
type Op struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	ID       string   `json:"id"`
	Kind     string   `json:"kind"`
	State    string   `json:"state"`
	Extent   uint64   `json:"extent,omitempty"`
	Node     string   `json:"node,omitempty"`
	Origin   string   `json:"origin"`
	Parent   string   `json:"parent,omitempty"`
	Fence    uint64   `json:"fence,omitempty"`
	Source   string   `json:"source,omitempty"`
	Target   string   `json:"target,omitempty"`
	Attempts int      `json:"attempts"`
	Waits    []string `json:"waits,omitempty"`
	Blocked  string   `json:"blocked,omitempty"` // why it is not starting, while queued
	By       string   `json:"by,omitempty"`
	Detail   string   `json:"detail,omitempty"`
	Admitted int64    `json:"admitted_micros"`
	Started  int64    `json:"started_micros,omitempty"`
	Ended    int64    `json:"ended_micros,omitempty"`
	Decision Decision `json:"decision"`
	Steps    []Step   `json:"steps,omitempty"`    // not in lists
	AskedBy  string   `json:"asked_by,omitempty"` // role and name of the certificate, such as "admin/me"
	Urgent   bool     `json:"urgent,omitempty"`
}

// OpsReply answers an OpsRequest.
type OpsReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Ops  []Op
	More bool // ask again after the last one's ID
}

// ShowOpRequest asks for one operation; the reply is an Op.
type ShowOpRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Op string
}

// WaitRequest asks to be answered when all of the operations have ended, or when WaitMicros have
// gone by. The reply is an OpsReply with where each stands.
type WaitRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Ops        []string
	WaitMicros int64
}

// ExtentsRequest lists extents by ID.
type ExtentsRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	From  uint64
	One   bool // only From itself
	Limit int
	Node  string // only those with a replica there
}

// Replica describes one replica.
type Replica struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node      string `json:"node"`
	State     string `json:"state"` // "whole", "suspect"
	NodeState string `json:"node_state"`
}

// Extent describes an extent.
type Extent struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	ID       uint64    `json:"id"`
	State    string    `json:"state"`
	Class    string    `json:"class,omitempty"`
	Want     int       `json:"want"`
	Live     int       `json:"live"`
	Length   uint64    `json:"length"` // sealed length; 0 while open
	Sum      string    `json:"sum,omitempty"`
	Replicas []Replica `json:"replicas"`
	Dropping []string  `json:"dropping,omitempty"` // nodes that have yet to confirm that their file is gone
	Ops      []string  `json:"ops,omitempty"`
	Gen      uint64    `json:"generation"`
	Epoch    uint64    `json:"epoch"`
	Created  int64     `json:"created_micros"`
	Birth    string    `json:"birth"` // as in a locator
	// Damaged are the ranges of a sealed extent that no replica is known to have all of. What can still be read of
	// them is served.
	Damaged []Range `json:"damaged,omitempty"`
	// Punched is how many of its bytes are deleted, in so many holes.
	Punched uint64 `json:"punched_bytes,omitempty"`
	Holes   uint32 `json:"holes,omitempty"`
	// KeptUntil is when the grace of a deleted extent ends; 0: it has none, or is not deleted.
	KeptUntil int64 `json:"kept_until_micros,omitempty"`
}

// Range is the bytes [From, To) of an extent.
type Range struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// ExtentsReply answers an ExtentsRequest.
type ExtentsReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Extents []Extent
	Next    uint64 // ask again from here; 0: that was all
}

// VerifyRequest asks for replicas to be read in full and compared with the log.
type VerifyRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Extent uint64
}

// Verified is what became of one replica.
type Verified struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Extent uint64 `json:"extent"`
	Node   string `json:"node"`
	OK     bool   `json:"ok"`
	Length uint64 `json:"length"`
	Sum    string `json:"sum"`
	Detail string `json:"detail,omitempty"`
	// Unchecked: the replica could not be read now, for a reason that says nothing of its bytes, such as a node that
	// is down or catching up. Implies not OK.
	Unchecked bool `json:"unchecked,omitempty"`
}

// VerifyReply answers a VerifyRequest.
type VerifyReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Replicas []Verified
}

// Call is a count of calls in flight.
type Call struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Op      string `json:"op"`
	Session string `json:"session,omitempty"`
	Count   int    `json:"count"`
}

// SessionUse is what one session of a connection is doing.
type SessionUse struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Session string `json:"session"`
	Calls   int    `json:"calls"`         // in flight
	Credit  int    `json:"credit_bytes"`  // of chunks that may still be sent
	Waiting int    `json:"calls_waiting"` // for credit
	Held    int    `json:"held_bytes"`    // of chunks received and not yet granted back
}

// Connection describes one connection of a node.
type Connection struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Peer       string `json:"peer"` // node ID; else the name in the certificate, or "client"
	Remote     string `json:"remote"`
	Direction  string `json:"direction"` // "in", "out"
	Since      int64  `json:"since_micros"`
	BytesIn    uint64 `json:"bytes_in"`
	BytesOut   uint64 `json:"bytes_out"`
	Stalls     uint64 `json:"credit_stalls"`
	Mismatches uint64 `json:"mismatches"`
	InFlight   []Call `json:"in_flight"`
	OldestCall int64  `json:"oldest_call_micros"`

	Role     string       `json:"role"` // of the certificate: node, admin or client; empty in plaintext
	Sessions []SessionUse `json:"sessions"`
	Oldest   string       `json:"oldest_call,omitempty"` // its operation type
	// "frames", or "raft": a raft stream, which has no calls or sessions
	Protocol string `json:"protocol"`
}

// ConnsReply lists the asked node's connections.
type ConnsReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node  string
	Conns []Connection
}

// SettingRequest changes one setting.
type SettingRequest struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Key   string
	Value string
}

// Setting is one replicated setting.
type Setting struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Key   string `json:"key"`
	Value string `json:"value"`
	Help  string `json:"help"`
}

// SettingsReply lists them.
type SettingsReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Settings []Setting
}

// InventoryReply lists the extent files on the asked node's disk.
type InventoryReply struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node        string   `json:"node"`
	Extents     []uint64 `json:"extents"`
	Staging     []uint64 `json:"staging"`
	Quarantined []string `json:"quarantined"`
}
