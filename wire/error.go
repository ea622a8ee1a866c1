package wire

import (
	"errors"
	"fmt"
	"time"
)

// Code says what kind of failure an error is. Never reused, only appended.
type Code uint16

const (
	CodeInternal     Code = 1  // a bug in us
	CodeInvalid      Code = 2  // the request cannot be right
	CodeNotFound     Code = 3  // no such extent, operation, node, policy
	CodeConflict     Code = 4  // another operation is in the way
	CodePrecondition Code = 5  // the state does not allow it
	CodeEnvelope     Code = 6  // a verdict or module is not acceptable
	CodeUnavailable  Code = 7  // no leader, no quorum, node not ready
	CodeCorrupt      Code = 8  // stored bytes do not match their checksum
	CodeStaleFence   Code = 9  // a newer operation has fenced this one off
	CodeNotRunning   Code = 10 // the fence names no running operation
	CodeCancelled    Code = 11
	CodeDeadline     Code = 12
	CodeConnection   Code = 13 // the connection broke or was poisoned
	CodeProtocol     Code = 14 // the peer does not speak this protocol
	CodeNoSpace      Code = 15
	CodeSession      Code = 16 // the client session has expired
	CodeWrongCell    Code = 17 // the peer belongs to another cell, or is another node
	CodeExhausted    Code = 18 // a limit of the peer is reached
	CodeDiskFailed   Code = 19 // a sync failed; the node no longer serves this disk
	CodeDenied       Code = 20 // the caller's certificate does not allow it
	CodeParted       Code = 21 // two histories of the cell: each node has applied entries that the other does not have
	CodeQuota        Code = 22 // more than a quota allows of a class or an identity
)

var codeNames = [...]string{"", "internal", "invalid", "not-found", "conflict", "precondition", "envelope",
	"unavailable", "corrupt", "stale-fence", "not-running", "cancelled", "deadline", "connection", "protocol",
	"no-space", "session-expired", "wrong-cell", "exhausted", "disk-failed", "denied", "parted", "quota"}

func (c Code) String() string {
	if c == 0 || int(c) >= len(codeNames) {
		return fmt.Sprintf("code(%d)", uint16(c))
	}
	return codeNames[c]
}

// Outcome says what is known about the work that failed, and so whether a retry is safe.
type Outcome uint8

const (
	NotDone Outcome = 1 // nothing happened: a retry is safe
	Done    Outcome = 2 // it happened all the same: do not retry
	Unknown Outcome = 3 // retry only what is idempotent
)

var outcomeNames = [...]string{"", "not-done", "done", "unknown"}

func (o Outcome) String() string {
	if o == 0 || int(o) >= len(outcomeNames) {
		return fmt.Sprintf("outcome(%d)", uint8(o))
	}
	return outcomeNames[o]
}

// Error is a failure that crosses the wire intact.
type Error struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Op      OpType
	Code    Code
	Outcome Outcome
	Node    string // where it happened; empty on the caller's side
	Detail  string // one line: what was seen, what was expected, what to do

	// RetryAfter is in how long it is worth to ask again; 0: not said. It is in the frame's header, as the deadline, which
	// older builds neither set nor look at.
	RetryAfter time.Duration `msgpack:"-"`
}

// RetryAfter is what err says about when to ask again; 0: nothing.
func RetryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

func (e *Error) Error() string {
	if e.Op == 0 { // of the connection, not of a call
		return e.Detail
	}
	if e.Node != "" {
		return fmt.Sprintf("%s on %s: %s", e.Op, e.Node, e.Detail)
	}
	return fmt.Sprintf("%s: %s", e.Op, e.Detail)
}

// Errorf builds an Error whose work was not done, the usual case.
func Errorf(op OpType, code Code, format string, args ...any) *Error {
	return &Error{Op: op, Code: code, Outcome: NotDone, Detail: fmt.Sprintf(format, args...)}
}

// CodeOf is the code of the first *Error in err's chain, 0 when there is none.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// OutcomeOf is what err says about the work: Unknown when it says nothing.
func OutcomeOf(err error) Outcome {
	var e *Error
	if errors.As(err, &e) {
		return e.Outcome
	}
	return Unknown
}
