package lead

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"strings"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Submission is one operation that somebody asks for.
type Submission struct {
	wire.Submission
	Session state.SessionID // that its number is of; 0: none
	Origin  policies.Origin
	Asker   state.Identity // empty where the cell asks, or nobody can tell
	Sharer  string         // whose line it waits in
	Force   bool

	parent state.OpID // the decommission that it is a part of
	named  bool       // every node understands who asks, and sums; looked at anew for each decision
	summed uint64     // see sum; 0 until it was asked for
	stale  string     // why the last decision was refused

	done chan admitted // buffered, one
}

// sum is a hash of all that a submission asks for, but its number: what is asked again under a number is answered from
// memory only if it is the same. Never 0. Only what differs from its zero value is hashed, under a number of its own,
// so that a later build that has more fields comes to the same sum for the same request.
func (s *Submission) sum() uint64 {
	if s.Session == 0 {
		return 0
	}
	if s.summed != 0 {
		return s.summed
	}
	b := make([]byte, 0, 128)
	text := func(field byte, all ...string) {
		if strings.Join(all, "") == "" {
			return
		}
		b = binary.AppendUvarint(append(b, field), uint64(len(all)))
		for _, t := range all {
			b = append(binary.AppendUvarint(b, uint64(len(t))), t...)
		}
	}
	number := func(field byte, n uint64) {
		if n != 0 {
			b = binary.AppendUvarint(append(b, field), n)
		}
	}
	flag := func(field byte, set bool) {
		if set {
			b = append(b, field)
		}
	}
	text(1, s.Kind)
	number(2, s.Extent)
	text(3, s.Node)
	text(4, s.Target)
	text(5, s.Class)
	number(6, uint64(s.Want))
	text(7, s.Replicas...)
	text(8, s.Primary)
	text(9, s.Avoid...)
	flag(10, s.Urgent)
	flag(11, s.Force)
	flag(12, s.Origin == policies.OriginCell)
	text(13, s.Owner)
	number(14, s.GraceMicros)
	flag(15, s.NoGrace)
	sum := sha256.Sum256(b)
	s.summed = cmp.Or(binary.BigEndian.Uint64(sum[:]), 1)
	return s.summed
}

// who asks, as it is in the log.
func (s *Submission) who() state.Identity {
	if !s.named {
		return ""
	}
	return s.Asker
}

// request is what names a submission in the log. Its sum stands there once every node understands it.
func (s *Submission) request() state.Request {
	r := state.Request{Session: s.Session, Seq: s.Seq}
	if s.named {
		r.Sum = s.sum()
	}
	return r
}
