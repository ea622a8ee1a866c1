package state

import (
	"cmp"
	"slices"

	"github.com/datanode/datanode/policies"
)

// CommandType tags a command in an entry. Numbered by hand: never reused, only appended.
type CommandType uint8

const (
	TypeGenesis        CommandType = 1
	TypeAdmit          CommandType = 2
	TypeStart          CommandType = 3
	TypeFinish         CommandType = 4
	TypeCancel         CommandType = 5
	TypeGone           CommandType = 6
	TypeSuspect        CommandType = 7
	TypeRescore        CommandType = 8
	TypeJoin           CommandType = 9
	TypeNodeState      CommandType = 10
	TypeVoter          CommandType = 11
	TypeSession        CommandType = 12
	TypeSetting        CommandType = 13
	TypePolicyLoad     CommandType = 14
	TypePolicyActivate CommandType = 15
	TypePolicyRollback CommandType = 16
	TypeNodeRemove     CommandType = 17
	TypeNodeRoom       CommandType = 18
	TypeRecovered      CommandType = 19
	TypeReorder        CommandType = 20
	TypeProven         CommandType = 21
	TypePunch          CommandType = 22
	TypePause          CommandType = 23
	TypeUndelete       CommandType = 24
	TypeGraceEnd       CommandType = 25
)

var commandNames = []string{"", "genesis", "admit", "start", "finish", "cancel", "gone", "suspect", "rescore",
	"node-join", "node-state", "node-voter", "session", "setting", "policy-load", "policy-activate", "policy-rollback",
	"node-remove", "node-room", "recovered", TypeReorder: "reorder", TypeProven: "replica-proven", TypePunch: "punch",
	TypePause: "node-pause", TypeUndelete: "undelete", TypeGraceEnd: "grace-end"}

// CommandNames are the words for the types of commands.
func CommandNames() []string { return slices.Clone(commandNames[1:]) }

func (t CommandType) String() string { return name(commandNames, uint8(t)) }

// Command is one change to the state, as it is in an entry. The pointer types below are all
// the implementations.
type Command interface{ CommandType() CommandType }

// NewCommand returns an empty command of the type to decode into, nil for an unknown type.
func NewCommand(t CommandType) Command {
	switch t {
	case TypeGenesis:
		return new(Genesis)
	case TypeAdmit:
		return new(Admit)
	case TypeStart:
		return new(Start)
	case TypeFinish:
		return new(Finish)
	case TypeCancel:
		return new(Cancel)
	case TypeGone:
		return new(Gone)
	case TypeSuspect:
		return new(Suspect)
	case TypeRescore:
		return new(Rescore)
	case TypeJoin:
		return new(Join)
	case TypeNodeState:
		return new(SetNodeState)
	case TypeVoter:
		return new(SetVoter)
	case TypeSession:
		return new(OpenSession)
	case TypeSetting:
		return new(Set)
	case TypePolicyLoad:
		return new(LoadPolicy)
	case TypePolicyActivate:
		return new(ActivatePolicy)
	case TypePolicyRollback:
		return new(RollbackPolicy)
	case TypeNodeRemove:
		return new(RemoveNode)
	case TypeRecovered:
		return new(Recovered)
	case TypeNodeRoom:
		return new(NodeRoom)
	case TypeReorder:
		return new(Reorder)
	case TypeProven:
		return new(Proven)
	case TypePunch:
		return new(Punch)
	case TypePause:
		return new(Pause)
	case TypeUndelete:
		return new(Undelete)
	case TypeGraceEnd:
		return new(EndGrace)
	}
	return nil
}

// Genesis names the cell. It is the first command of a log; later ones are refused.
type Genesis struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Cell string
}

// Request names a submit of a client session, so that a repeated one is answered, not run, again.
type Request struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Session SessionID // 0: not idempotent, for the cell's own submits
	Seq     uint64
	// Sum is a hash of all that was asked for: what is asked again is answered from memory only if it is the same. 0 while
	// a node of the cell would not understand it.
	Sum uint64
}

// Admit brings an operation into the cell with the decision that was made about it.
type Admit struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Request Request
	Kind    policies.Kind
	Origin  policies.Origin
	Parent  OpID
	Extent  ExtentID // 0 for a create and for node operations
	Node    NodeID
	Target  NodeID // of a move, where the caller wants it; empty lets the cell choose
	// Gen is the extent's generation that the decision was made under.
	Gen      uint64
	Decision Decision

	// Class, Want and Replicas are those of a create: Replicas[0] becomes the primary.
	Class    string
	Want     uint8
	Replicas []NodeID

	// Forced says that the leader's check said that it cannot succeed now, and --force overrode it.
	Forced bool

	AskedBy Identity // whose request it is; empty where nobody can tell
	Urgent  bool     // of a move, repair or decommission: it starts inside a quiet window too
	Named   bool     // of a move: somebody has named Target, and no other will do
	// Owner is for whom the cell asks for a create. What others ask for is their own.
	Owner Identity
	// Start has a create or a delete start in this very entry, if nothing is in its way: see State.startAtOnce.
	Start bool
	// GraceMicros is how long a delete keeps the files, for an undelete; 0: not at all.
	GraceMicros Micros
}

// Start lets a queued operation run. Its fence is the index of the entry.
type Start struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Op       OpID
	Source   NodeID
	Target   NodeID
	Executor NodeID
	Replaces NodeID
}

// Outcome is how an attempt ended.
type Outcome uint8

const (
	OutcomeDone  Outcome = 1
	OutcomeRetry Outcome = 2 // try again, after a pause, up to Settings.MaxAttempts
	OutcomeFail  Outcome = 3 // trying again cannot help
)

// Finish ends a running attempt. One under an old fence changes nothing.
type Finish struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Op      OpID
	Fence   Fence
	Outcome Outcome
	Detail  string

	// Of a seal: the agreed length and sum, and the replicas that confirmed them.
	Length    uint64
	Sum       uint32
	Confirmed []NodeID

	// Damaged: no replica has all of Length, which is how much is known to have been acknowledged or written. What is
	// lost lies in [DamagedFrom, Length); nobody has confirmed anything.
	Damaged     bool
	DamagedFrom uint64
}

// Cancel ends an operation that somebody no longer wants.
type Cancel struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Op      OpID
	Note    string
	AskedBy Identity
}

// Gone confirms that a node holds no file of an extent any more. Durable on that node before sent.
type Gone struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Extent ExtentID
	Node   NodeID
	// Since is that of the Former that is confirmed: a confirmation that comes late, when the node
	// has been a replica again, says nothing of the newer file.
	Since Index
}

// Suspect says that a replica was found damaged or missing.
type Suspect struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Extent ExtentID
	Node   NodeID
	Note   string
	// Always: of an open extent too, and of the last replica that was not known to be damaged: the extent is damaged
	// then, from From on.
	Always bool
	From   uint64
}

// Proven says that a replica was read in full, is sound, and has all that the cell counts on. It makes a suspect
// replica whole again without a copy, and mends an extent that was damaged, or shorter than what is acknowledged.
type Proven struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Extent ExtentID
	Node   NodeID
	Length uint64
	Sum    uint32
	Floor  uint64 // how much the replica knows to be acknowledged
}

// Rescore replaces the priorities of queued operations, after a change of policy or of what the
// facts rest on.
type Rescore struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Op       OpID
	Decision Decision // Conflicts are ignored: verdicts are not taken back
}

// Join makes a node known, or records its new address and incarnation.
type Join struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node        NodeID
	Addr        string
	Incarnation uint64
	Voter       bool
	Level       Level // of the node's build; 0 is LevelFirst

	Seen     Index // see Node
	Unproven bool  // see Node

	AskedBy Identity // the node by its certificate; empty where nobody can tell
}

// SetNodeState records that a node went down or came up, as the leader sees it.
type SetNodeState struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node        NodeID
	State       NodeState
	Incarnation uint64 // NodeUp of another incarnation than the one known is refused
	Seen        Index  // see Node; 0 where nothing new is known
}

// SetVoter records what the group's configuration says about a node's vote.
type SetVoter struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node    NodeID
	Voter   bool
	AskedBy Identity // of a node that has lost its vote to one that came to its address: that one
}

// OpenSession opens a client session. Its ID is the operation ID that the command would have.
type OpenSession struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Client  string   // for people who read the log
	AskedBy Identity // whose session it is
}

// Set changes one setting.
type Set struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Key     string
	Value   string
	AskedBy Identity
}

// LoadPolicy makes a policy known by digest. Its bytes never enter the log; its configuration does, and is
// part of what the digest names, so that every node that compiles the policy compiles the same one.
type LoadPolicy struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Digest  string
	Name    string
	Version string
	Bytes   uint64
	Source  NodeID // has the bytes

	// Module is the digest of the bytes where Config is given: Digest is then that of both.
	Module string
	// Config is what the policy is given wherever it is compiled. Never written to.
	Config  map[string]string
	AskedBy Identity
}

// ModuleDigest is the digest of the policy's bytes.
func (c *LoadPolicy) ModuleDigest() string { return cmp.Or(c.Module, c.Digest) }

// ActivatePolicy makes a loaded policy the one that decides. An empty digest is the native default.
type ActivatePolicy struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Digest  string
	AskedBy Identity
}

// RollbackPolicy makes the policy that decided before the active one decide again.
type RollbackPolicy struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	AskedBy Identity
}

// RemoveNode forgets a decommissioned node, and with it the files that it has not confirmed gone:
// what its disk still holds is unknown to the cell from then on.
type RemoveNode struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node NodeID
	// Incarnation of a node that is down. When another has started since, or the node is up, nothing is done.
	// 0: whatever runs there.
	Incarnation uint64
	// Forced takes a node off that is down without having been decommissioned, replicas and all.
	Forced bool
	Note   string // why, for people who read the log

	AskedBy Identity
}

// NodeRoom records what room a node has for extents, and why it takes none of them now.
type NodeRoom struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Node    NodeID
	Free    uint64 // bytes that extents may still take there
	Total   uint64 // bytes of its disk
	Refuses string // empty: it takes replicas

	Largest uint64     // bytes that an extent may take on the one disk that has most left; 0: Free
	Disks   []NodeDisk // those that are not ok, by ID; their Since is the entry's to say
}

// AskedBy is who asked for a command; empty where the cell did, or nobody can tell.
func AskedBy(c Command) Identity {
	switch c := c.(type) {
	case *Admit:
		return c.AskedBy
	case *Cancel:
		return c.AskedBy
	case *Reorder:
		return c.AskedBy
	case *OpenSession:
		return c.AskedBy
	case *Set:
		return c.AskedBy
	case *LoadPolicy:
		return c.AskedBy
	case *ActivatePolicy:
		return c.AskedBy
	case *RollbackPolicy:
		return c.AskedBy
	case *RemoveNode:
		return c.AskedBy
	case *Punch:
		return c.AskedBy
	case *Pause:
		return c.AskedBy
	case *Join:
		return c.AskedBy
	case *SetVoter:
		return c.AskedBy
	case *Undelete:
		return c.AskedBy
	}
	return ""
}

func (*Genesis) CommandType() CommandType        { return TypeGenesis }
func (*Admit) CommandType() CommandType          { return TypeAdmit }
func (*Start) CommandType() CommandType          { return TypeStart }
func (*Finish) CommandType() CommandType         { return TypeFinish }
func (*Cancel) CommandType() CommandType         { return TypeCancel }
func (*Gone) CommandType() CommandType           { return TypeGone }
func (*Suspect) CommandType() CommandType        { return TypeSuspect }
func (*Rescore) CommandType() CommandType        { return TypeRescore }
func (*Join) CommandType() CommandType           { return TypeJoin }
func (*SetNodeState) CommandType() CommandType   { return TypeNodeState }
func (*SetVoter) CommandType() CommandType       { return TypeVoter }
func (*OpenSession) CommandType() CommandType    { return TypeSession }
func (*Set) CommandType() CommandType            { return TypeSetting }
func (*LoadPolicy) CommandType() CommandType     { return TypePolicyLoad }
func (*ActivatePolicy) CommandType() CommandType { return TypePolicyActivate }
func (*RollbackPolicy) CommandType() CommandType { return TypePolicyRollback }
func (*RemoveNode) CommandType() CommandType     { return TypeNodeRemove }
func (*NodeRoom) CommandType() CommandType       { return TypeNodeRoom }
func (*Proven) CommandType() CommandType         { return TypeProven }
func (*Recovered) CommandType() CommandType      { return TypeRecovered }
func (*Punch) CommandType() CommandType          { return TypePunch }
func (*Pause) CommandType() CommandType          { return TypePause }
