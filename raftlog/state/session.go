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
}

const (
	maxAnswers  = 256
	maxSessions = 10_000
	sessionLife = 24 * time.Hour
)

// answered finds what the session answered to a request. found is false when it is a new one.
// The error is that of a session that cannot say.
func (s *State) answered(r Request) (a Answer, found bool, refusal *wire.Error) {
	if r.Session == 0 {
		return Answer{}, false, nil
	}
	ses, ok := s.sessions.Get(r.Session)
	if !ok {
		return Answer{}, false, refuse(wire.CodeSession, "client session %d has expired or was never opened; open another and check what was done before asking again", r.Session)
	}
	for _, a := range ses.Answers {
		if a.Seq == r.Seq {
			return a, true, nil
		}
	}
	if r.Seq <= ses.Dropped {
		return Answer{}, false, refuse(wire.CodeSession, "request %d of client session %d was answered too long ago", r.Seq, ses.ID)
	}
	return Answer{}, false, nil
}

// remember keeps an answer. The session exists: answered was asked before.
func (s *State) remember(r Request, res Result) {
	if r.Session == 0 {
		return
	}
	old, _ := s.sessions.Get(r.Session)
	ses := *old
	a := Answer{Seq: r.Seq, Op: res.Op, Extent: res.Extent}
	if res.Err != nil {
		a.Code, a.Detail = res.Err.Code, res.Err.Detail
	}
	ses.Answers = append(slices.Clone(ses.Answers), a)
	slices.SortFunc(ses.Answers, func(a, b Answer) int { return compare(a.Seq, b.Seq) })
	for len(ses.Answers) > maxAnswers {
		ses.Dropped = ses.Answers[0].Seq
		ses.Answers = ses.Answers[1:]
	}
	ses.UsedMicros = s.NowMicros
	s.sessions.Set(ses.ID, &ses)
}

func (s *State) openSession(at moment, c *OpenSession) Result {
	s.expireSessions()
	id := SessionID(at.op())
	s.sessions.Set(id, &Session{ID: id, Client: c.Client, UsedMicros: at.now})
	return Result{Session: id}
}

// expireSessions drops the idle ones, and the oldest when there are too many.
func (s *State) expireSessions() {
	var idle []SessionID
	s.sessions.Scan(func(id SessionID, ses *Session) bool {
		if s.NowMicros-ses.UsedMicros > micros(sessionLife) {
			idle = append(idle, id)
		}
		return true
	})
	for _, id := range idle {
		s.sessions.Delete(id)
	}
	for s.sessions.Len() >= maxSessions {
		s.sessions.PopMin()
	}
}
