// Package policies says what a policy is: the facts it is given, the decisions it may answer, and
// the envelope of answers that are safe. It is pure: no clock, no I/O, no goroutine, no randomness.
//
// A policy chooses two things. Score gives a queued operation its priority. Conflict gives the
// verdict between an operation that the cell already holds and one that arrives for the same extent
// or node. Both are asked in batches on the leader, before an entry is proposed; the answer is
// recorded in the entry and never asked for again, so that replicas need not agree on how a policy
// computes, only on what it answered.
package policies

import (
	"context"
	"fmt"
)

// Kind is the kind of an operation. The numbers are part of the log format: never reused, only appended.
type Kind uint8

const (
	KindCreate       Kind = 1
	KindSeal         Kind = 2
	KindRepair       Kind = 3
	KindMove         Kind = 4
	KindDelete       Kind = 5
	KindPunch        Kind = 6
	KindDecommission Kind = 7
	KindRecommission Kind = 8
)

var kindNames = [...]string{"", "create", "seal", "repair", "move", "delete", "punch", "decommission", "recommission"}

// String is the word used in the command line, the log and the documents.
func (k Kind) String() string {
	if k == 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// ParseKind is the inverse of String. ok is false for a word that names no kind.
func ParseKind(s string) (k Kind, ok bool) {
	for i, name := range kindNames {
		if i > 0 && name == s {
			return Kind(i), true
		}
	}
	return 0, false
}

// Phase is where an operation stands, as far as a policy needs to know.
type Phase uint8

const (
	PhaseIncoming Phase = 1 // not admitted yet
	PhaseQueued   Phase = 2
	PhaseRunning  Phase = 3
)

// Origin is who asked for an operation.
type Origin uint8

const (
	OriginUser         Origin = 1 // a client
	OriginCell         Origin = 2 // the cell itself: lost redundancy, a failed append
	OriginDecommission Origin = 3 // a running decommission
)

// ClassBytes is the size of a class tag. A longer tag is refused when the extent is created.
const ClassBytes = 16

// Facts are what a policy is given about one operation. Times are microseconds; the cell's time is
// the leader's, as recorded in the log, and never goes back.
//
// The fields are in the order of the record that a module is handed (package plugins), so that a
// batch of them is copied there rather than written field by field.
type Facts struct {
	OpIndex       uint64 // log index of the admitting entry; 0 while incoming
	Extent        uint64 // 0 for operations on a node
	LengthBytes   uint64 // sealed length; 0 while open
	NowMicros     int64  // the cell's time of this decision
	WaitingMicros int64  // how long it has been queued
	OpPlace       uint32 // place in the admitting entry
	QueuedOps     uint32
	RunningOps    uint32
	RunningSame   uint32 // running operations of the same kind
	Kind          Kind
	Phase         Phase
	Origin        Origin
	Attempts      uint8 // how often it was started before
	ExtentOpen    bool
	LiveReplicas  uint8 // whole replicas on nodes that are up
	WantReplicas  uint8
	_             uint8
	Class         [ClassBytes]byte // the extent's class tag, zero padded
}

// ClassString is the class tag without its padding.
func (f *Facts) ClassString() string {
	n := 0
	for n < len(f.Class) && f.Class[n] != 0 {
		n++
	}
	return string(f.Class[:n])
}

// Score is a policy's answer about one operation. A higher priority starts first; equal priorities
// start in the order of their operation IDs.
type Score struct {
	Priority int32
	Reason   uint16 // index into Info.Reasons
}

// Pair is an operation that the cell holds (queued or running) and one that arrives.
type Pair struct {
	Existing Facts
	Incoming Facts
	// SameNode tells for moves and decommissions whether both take from the same node.
	SameNode bool
}

// Verdict says who yields.
type Verdict uint8

const (
	Coexist   Verdict = 1 // both go on, in any order
	Wait      Verdict = 2 // the incoming operation starts after the existing one has ended
	Supersede Verdict = 3 // the existing operation is cancelled
	Merge     Verdict = 4 // the incoming operation becomes one with the existing one
	Reject    Verdict = 5 // the incoming operation is refused
)

var verdictNames = [...]string{"", "coexist", "wait", "supersede", "merge", "reject"}

func (v Verdict) String() string {
	if v == 0 || int(v) >= len(verdictNames) {
		return fmt.Sprintf("verdict(%d)", uint8(v))
	}
	return verdictNames[v]
}

// Resolution is a policy's answer about one pair.
type Resolution struct {
	Verdict Verdict
	Reason  uint16 // index into Info.Reasons
}

// Info is what a policy says of itself.
type Info struct {
	Name    string
	Version string
	// Digest names the exact policy: "sha256:" and 64 hex digits for a module, "native" for the
	// policy that is compiled in.
	Digest  string
	Reasons []string // index 0 is "unspecified"
}

// Reason is the text behind a reason number, also for one that the policy does not list.
func (i Info) Reason(n uint16) string {
	if int(n) < len(i.Reasons) {
		return i.Reasons[n]
	}
	return fmt.Sprintf("reason %d", n)
}

// Policy is what the leader asks. Implementations answer for every element of the batch or return
// an error, and then the native default decides the same batch. A Policy may be called from
// several goroutines at once.
type Policy interface {
	Info() Info
	// Score fills out[i] for facts[i]; len(out) == len(facts). cost is the metered work, 0 where
	// it is not metered.
	Score(ctx context.Context, facts []Facts, out []Score) (cost uint64, err error)
	// Conflict fills out[i] for pairs[i]; len(out) == len(pairs).
	Conflict(ctx context.Context, pairs []Pair, out []Resolution) (cost uint64, err error)
}
