package state

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/datanode/datanode/policies"
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

	// Sum and Kind are those of the request; 0 where it had no sum.
	Sum  uint64
	Kind policies.Kind
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

const maxAnswers = 256

func (ses *Session) find(seq uint64) (i int, found bool) {
	return slices.BinarySearchFunc(ses.Answers, seq, func(a Answer, seq uint64) int { return compare(a.Seq, seq) })
}

// answered finds what the session answered to the request of c. found is false when it is a new one. The refusal is
// that of a session that cannot say, or may not: it is another's, or the number was used for another request.
func (v *View) answered(c *Admit) (a Answer, found bool, refusal *wire.Error) {
	r := c.Request
	if r.Session == 0 {
		return Answer{}, false, nil
	}
	ses, ok := v.sessions.Get(r.Session)
	if !ok {
		return Answer{}, false, refuse(wire.CodeSession, "client session %s has expired or was never opened; "+
			"open another and check what was done before asking again", OpID(r.Session))
	}
	if ses.Owner != "" && ses.Owner != c.AskedBy {
		return Answer{}, false, refuse(wire.CodeDenied, "client session %s is not that of %s; nobody submits in another's "+
			"session: open one", OpID(r.Session), cmp.Or(string(c.AskedBy), "whoever has no certificate"))
	}
	if i, found := ses.find(r.Seq); found {
		return ses.Answers[i], true, v.differs(&ses.Answers[i], c)
	}
	if r.Seq <= ses.Dropped {
		return Answer{}, false, refuse(wire.CodeSession, "request %d of client session %s is too old to tell whether it "+
			"was answered; check what was done before asking again", r.Seq, OpID(ses.ID))
	}
	return Answer{}, false, nil
}

// differs refuses c if a is the answer to another request. Without a sum nothing is: an older node, which would answer,
// may be in the cell. An answer that was kept without one is compared as far as it is known what it was about.
func (v *View) differs(a *Answer, c *Admit) *wire.Error {
	if c.Request.Sum == 0 || a.Sum == c.Request.Sum {
		return nil
	}
	kind := v.answeredKind(a)
	if a.Sum == 0 {
		sameKind := kind == 0 || kind == c.Kind
		sameExtent := a.Op == 0 || c.Kind == policies.KindCreate || a.Extent == c.Extent
		if sameKind && sameExtent {
			return nil
		}
	}
	what := "another request"
	if kind != 0 {
		what = "another request, a " + kind.String()
	}
	if a.Extent != 0 {
		what += fmt.Sprintf(" of extent %d", a.Extent)
	}
	return refuse(wire.CodeInvalid,
		"request %d of client session %s was %s; nothing was done: give every request a number of its own",
		c.Request.Seq, OpID(c.Request.Session), what)
}

// answeredKind is what an answer was about, 0 if that is not known any more.
func (v *View) answeredKind(a *Answer) policies.Kind {
	if a.Kind != 0 {
		return a.Kind
	}
	if o := v.Op(a.Op); o != nil {
		return o.Kind // what is merged into another is of its kind
	}
	return 0
}

// Answered is what the request of c came to that was made before; ok is false for a new one. A session that cannot
// say is an answer too, of CodeSession, and so is one that may not: Misused. The leader asks before it decides; of c
// the request, the kind, the extent and who asks are looked at.
func (v *View) Answered(c *Admit) (res Result, ok bool) {
	a, found, refusal := v.answered(c)
	switch {
	case refusal != nil:
		return Result{Kind: c.Kind, Err: refusal, Misused: refusal.Code != wire.CodeSession}, true
	case !found:
		return Result{}, false
	}
	res = Result{Op: a.Op, Extent: a.Extent, Merged: a.Merged, Kind: v.answeredKind(&a)}
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
	if r.Sum != 0 { // an older build does not keep them
		a.Sum, a.Kind = r.Sum, res.Kind
	}
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
