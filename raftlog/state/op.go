package state

import (
	"slices"
	"strings"

	"github.com/datanode/datanode/policies"
)

// OpState is the lifecycle of an operation: queued, running, then one of the rest. Numbered by
// hand: part of the snapshot format.
type OpState uint8

const (
	OpQueued     OpState = 1
	OpRunning    OpState = 2
	OpDone       OpState = 3
	OpFailed     OpState = 4
	OpCancelled  OpState = 5
	OpSuperseded OpState = 6
	OpRejected   OpState = 7
)

var opStateNames = []string{"", "queued", "running", "done", "failed", "cancelled", "superseded", "rejected"}

// OpStateNames are the words for the states of operations, in the order of a life.
func OpStateNames() []string { return slices.Clone(opStateNames[1:]) }

func (s OpState) String() string { return name(opStateNames, uint8(s)) }

// Ended reports whether nothing more will happen to an operation in this state.
func (s OpState) Ended() bool { return s >= OpDone }

// Conflict is one verdict of a decision: between an operation that the cell held and this one.
type Conflict struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	With     OpID
	WithKind policies.Kind
	Asked    policies.Verdict // what the policy answered
	Final    policies.Verdict // what was done; differs where the envelope overruled the answer
	Reason   string
}

// Decision is what was decided about an operation, by which policy, from which facts. It is part of
// the entry, so that it can be explained and replayed.
type Decision struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Policy   string // digest
	Epoch    uint64 // policy epoch it was made under
	Priority int32
	Reason   string
	Cost     uint64 // metered work of the batch
	Facts    policies.Facts
	// Fallback says why the native default decided instead of the policy; empty when it did not.
	Fallback  string
	Conflicts []Conflict
	// Budget is how much metered work the batch was allowed; 0 where the policy's is not counted.
	Budget uint64
}

// Step is one event in the life of an operation.
type Step struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Index  Index
	Micros Micros
	State  OpState
	Note   string
}

// maxSteps bounds the history kept of one operation. The first and the newest steps stay.
const maxSteps = 32

// Op is one operation. Values are immutable once stored.
type Op struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	ID     OpID
	Kind   policies.Kind
	State  OpState
	Extent ExtentID // 0 for an operation on a node
	// Node is the node that a decommission or recommission is about, and the one a move takes from.
	Node   NodeID
	Origin policies.Origin
	Parent OpID // the decommission that a move belongs to

	Decision Decision
	Waits    []OpID // what must end before this may start

	// Fence is that of the running or last attempt; 0 before the first.
	Fence    Fence
	Source   NodeID // where a copy is read
	Target   NodeID // where it is written; kept between attempts, since the target resumes
	Executor NodeID // who does the work; empty where the leader's planner does
	Replaces NodeID // whose replica the target's takes the place of; may be empty

	Attempts        uint8
	NotBeforeMicros Micros // backoff
	EndedMicros     Micros
	EndedIndex      Index
	By              OpID   // what superseded it, or what it was merged into
	Detail          string // why it failed, what it still waits for
	Steps           []Step

	AskedBy Identity // see Admit
	Urgent  bool     // see Admit
	Named   bool     // see Admit

	// Turn is the operation's place among the queued ones of its kind where a person has chosen it, from 1 on; 0
	// comes after those, in the order that policies give. See Reorder.
	Turn uint32

	GraceMicros Micros // see Admit
}

func (o *Op) clone() *Op {
	c := *o
	c.Waits = slices.Clone(o.Waits)
	c.Steps = slices.Clone(o.Steps)
	return &c
}

func (o *Op) step(at moment, note string) {
	if len(o.Steps) >= maxSteps {
		o.Steps = slices.Delete(o.Steps, 1, 2)
	}
	o.Steps = append(o.Steps, Step{Index: at.index, Micros: at.now, State: o.State, Note: clip(note)})
}

// maxTextBytes bounds each text that is kept from a command. What is longer is in the log.
const maxTextBytes = 512

func clip(s string) string {
	if len(s) <= maxTextBytes {
		return s
	}
	return strings.ToValidUTF8(s[:maxTextBytes], "") + "…"
}

// Copies reports whether the operation copies bytes from a source to a target.
func (o *Op) Copies() bool { return o.Kind == policies.KindRepair || o.Kind == policies.KindMove }
