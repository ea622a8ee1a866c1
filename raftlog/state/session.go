package state

import (
	"slices"
	"time"

	"github.com/datanode/datanode/wire"
)

// SessionID identifies a client session.
type SessionID uint64

// Answer is the kept result of one request of a session.
type Answer struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	Seq    uint64
	Op     OpID
	Extent ExtentID
	Code   wire.Code // of a refusal; 0 when it was admitted
	Detail string
	Merged bool
}

// Session remembers what a client asked for, so that asking again gives the same answer.
type Session struct {
	_msgpack struct{} `msgpack:",as_array"` //nolint:unused // tells the codec the layout

	ID         SessionID
	Client     string
	UsedMicros Micros
	// Answers are the newest, by rising Seq. Invariant: at most maxAnswers.
	Answers []Answer
	// Dropped is the highest Seq whose answer is no longer kept: asked again, it is refused.
	Dropped uint64
	Owner   Identity // whose it is; empty: anybody's
}

const (
	maxAnswers  = 256
	maxSessions = 10_000
	sessionLife = 24 * time.Hour
)

// lastUse orders the sessions by when they were last used: the first is the next to go.
type lastUse struct {
	micros  Micros
	session SessionID
}

func lessLastUse(a, b lastUse) bool {
	if a.micros != b.micros {
		return a.micros < b.micros
	}
	return a.session < b.session
}

func (s *State) putSession(ses *Session) {
	if old, ok := s.sessions.Set(ses.ID, ses); ok {
		s.idle.Delete(lastUse{old.UsedMicros, old.ID})
	}
	s.idle.Set(lastUse{ses.UsedMicros, ses.ID})
}

func (ses *Session) find(seq uint64) (i int, found bool) {
	return slices.BinarySearchFunc(ses.Answers, seq, func(a Answer, seq uint64) int { return compare(a.Seq, seq) })
}

// answered finds what the session answered to a request. found is false when it is a new one.
// The error is that of a session that cannot say.
func (v *View) answered(r Request) (a Answer, found bool, refusal *wire.Error) {
	if r.Session == 0 {
		return Answer{}, false, nil
	}
	ses, ok := v.sessions.Get(r.Session)
	if !ok {
		return Answer{}, false, refuse(wire.CodeSession, "client session %s has expired or was never opened; open another and check what was done before asking again", OpID(r.Session))
	}
	if i, found := ses.find(r.Seq); found {
		return ses.Answers[i], true, nil
	}
	if r.Seq <= ses.Dropped {
		return Answer{}, false, refuse(wire.CodeSession, "request %d of client session %s is too old to tell whether it was answered; check what was done before asking again", r.Seq, OpID(ses.ID))
	}
	return Answer{}, false, nil
}

// Answered is what a request came to that was made before; ok is false for a new one. A session that cannot say is
// an answer too, of CodeSession.
func (v *View) Answered(r Request) (res Result, ok bool) {
	a, found, refusal := v.answered(r)
	switch {
	case refusal != nil:
		return Result{Err: refusal}, true
	case !found:
		return Result{}, false
	}
	res = Result{Op: a.Op, Extent: a.Extent, Merged: a.Merged}
	if a.Code != 0 {
		res.Err = refuse(a.Code, "%s", a.Detail)
	}
	return res, true
}

// remember keeps an answer. The session exists: answered was asked before.
func (s *State) remember(r Request, res Result) {
	if r.Session == 0 {
		return
	}
	old, _ := s.sessions.Get(r.Session)
	ses := *old
	a := Answer{Seq: r.Seq, Op: res.Op, Extent: res.Extent, Merged: res.Merged}
	if res.Err != nil {
		a.Code, a.Detail = res.Err.Code, clip(res.Err.Detail)
	}
	ses.insert(a)
	ses.UsedMicros = s.NowMicros
	s.putSession(&ses)
}

// insert keeps a in order of Seq. The usual case, a rising one, appends in place: older versions of
// the session share the array but end before the new element.
func (ses *Session) insert(a Answer) {
	i, _ := ses.find(a.Seq)
	if i < len(ses.Answers) {
		ses.Answers = slices.Clone(ses.Answers)
	}
	ses.Answers = slices.Insert(ses.Answers, i, a)
	for len(ses.Answers) > maxAnswers {
		ses.Dropped = ses.Answers[0].Seq
		ses.Answers = ses.Answers[1:]
	}
}

func (s *State) openSession(at moment, c *OpenSession) Result {
	s.expireSessions()
	id := SessionID(at.op())
	s.putSession(&Session{ID: id, Client: clip(c.Client), UsedMicros: at.now, Owner: c.AskedBy})
	return Result{Session: id}
}

// expireSessions drops the idle ones, and those used longest ago when there are too many.
func (s *State) expireSessions() {
	for {
		first, ok := s.idle.Min()
		if !ok || (s.NowMicros-first.micros <= micros(sessionLife) && s.sessions.Len() < maxSessions) {
			return
		}
		s.idle.Delete(first)
		s.sessions.Delete(first.session)
	}
}
