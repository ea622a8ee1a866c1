package wire

import (
	"fmt"
	"slices"
)

// Session is a class of work. Each has its own credit and its own share of a connection.
type Session uint8

const (
	SessionClient  Session = 1
	SessionAppend  Session = 2
	SessionRepair  Session = 3
	SessionDelete  Session = 4
	SessionControl Session = 5

	sessionEnd Session = 6
)

var sessionNames = [...]string{"", "client", "append", "repair", "delete", "control"}

func (s Session) String() string {
	if s == 0 || int(s) >= len(sessionNames) {
		return fmt.Sprintf("session(%d)", uint8(s))
	}
	return sessionNames[s]
}

// Valid reports whether s names a session of this protocol version.
func (s Session) Valid() bool { return s >= SessionClient && s < sessionEnd }

// opSessions are the sessions that the requests of an operation type may come in, the usual one first. A request
// elsewhere would have a share of the connection that is not meant for it, and is refused. Submits and proposals
// have two: those that are only about deletes go in a session of their own, so that a storm of them holds nothing
// else up.
var opSessions = map[OpType][]Session{
	OpPut: {SessionClient}, OpRead: {SessionClient}, OpAppend: {SessionClient},

	OpReplicaAppend: {SessionAppend},

	OpPunch: {SessionDelete},

	OpReplicaRead: {SessionRepair}, OpReplicaSum: {SessionRepair},

	OpSubmit: {SessionControl, SessionDelete}, OpPropose: {SessionControl, SessionDelete},

	OpVerify: {SessionControl}, OpSession: {SessionControl}, OpCancel: {SessionControl}, OpOps: {SessionControl},
	OpShowOp: {SessionControl}, OpExtents: {SessionControl}, OpNodes: {SessionControl}, OpStatus: {SessionControl},
	OpConns: {SessionControl}, OpWait: {SessionControl}, OpSettings: {SessionControl}, OpSetting: {SessionControl},
	OpInventory: {SessionControl}, OpNodeRemove: {SessionControl}, OpReorder: {SessionControl}, OpScrub: {SessionControl},
	OpHealth:     {SessionControl},
	OpStop:       {SessionControl},
	OpPause:      {SessionControl},
	OpBalance:    {SessionControl},
	OpBlocked:    {SessionControl},
	OpDisks:      {SessionControl},
	OpDiskChange: {SessionControl},
	OpUndelete:   {SessionControl},
	OpPolicyLoad: {SessionControl}, OpPolicyActivate: {SessionControl}, OpPolicyRollback: {SessionControl},
	OpPolicies: {SessionControl}, OpPolicyFetch: {SessionControl},
	OpLogList: {SessionControl}, OpLogVerify: {SessionControl}, OpLogChain: {SessionControl},
	OpLogSnapshots: {SessionControl}, OpLogSnapshot: {SessionControl},
	OpJoin: {SessionControl}, OpHeartbeat: {SessionControl},
	OpReplicaCreate: {SessionControl}, OpReplicaFence: {SessionControl}, OpReach: {SessionControl},
}

// Sessions are those that requests of o may come in, the usual one first; none if o is not known. They are
// not to be changed.
func (o OpType) Sessions() []Session { return opSessions[o] }

// CheckSession refuses a request of o in another session than its own. Nothing of it has been done then.
func (o OpType) CheckSession(s Session) error {
	if own := opSessions[o]; !slices.Contains(own, s) {
		return Errorf(o, CodeProtocol, "a request of %s came in the session %s; send it in %s", o, s, spoken(own))
	}
	return nil
}

func spoken(sessions []Session) string {
	text := ""
	for i, s := range sessions {
		if i > 0 {
			text += " or "
		}
		text += s.String()
	}
	return text
}

// SessionFor is the session to send a request of o with such a body in.
func (o OpType) SessionFor(body any) Session {
	if r, ok := body.(*SubmitRequest); ok {
		return r.class()
	}
	return opSessions[o][0]
}

// OnlyDeletes reports whether a submit asks for nothing but deletes: then it may come in their session.
func (r *SubmitRequest) OnlyDeletes() bool { return r.class() == SessionDelete }

func (r *SubmitRequest) class() Session {
	if len(r.Submit) == 0 || slices.ContainsFunc(r.Submit, func(s Submission) bool { return s.Kind != submitDelete }) {
		return SessionControl
	}
	return SessionDelete
}

// submitDelete is what policies.KindDelete is called in a submission.
const submitDelete = "delete"
