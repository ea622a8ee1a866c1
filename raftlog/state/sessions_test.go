package state

import (
	"fmt"
	"testing"

	"github.com/datanode/datanode/wire"
)

// open opens a session a moment after the last one.
func open(s *State, who Identity) SessionID {
	s.NowMicros++
	return next(s, &OpenSession{AskedBy: who})[0].Session
}

func has(s *State, id SessionID) bool {
	_, ok := s.sessions.Get(id)
	return ok
}

// Whoever opens too many sessions loses those of his own that were used longest ago, and nobody else loses any.
func TestSessionsOfAnIdentityAreBounded(t *testing.T) {
	s := grown(0)
	alice, nobodys := open(s, "client/alice"), open(s, "")
	first, second := open(s, "client/eve"), open(s, "client/eve")
	s.NowMicros++
	a := admitCreate() // a use makes the first the newest
	a.Request, a.AskedBy = Request{Session: first, Seq: 1, Sum: 1}, "client/eve"
	if res := next(s, a)[0]; res.Err != nil {
		t.Fatal(res)
	}
	for range maxSessionsEach - 1 {
		open(s, "client/eve")
	}
	if has(s, second) || !has(s, first) {
		t.Errorf("the one that was used longest ago is kept: %t, one that was used since: %t", has(s, second), has(s, first))
	}
	for range 3 * maxSessionsEach {
		open(s, "client/eve")
	}
	if count, _ := s.owners.Get("client/eve"); count != maxSessionsEach || !has(s, alice) || !has(s, nobodys) {
		t.Errorf("eve has %d sessions; alice's is there: %t, nobody's: %t", count, has(s, alice), has(s, nobodys))
	}
	if err := CheckInvariants(&s.View); err != nil {
		t.Error(err)
	}
}

// When there are too many in all, whoever has most gives one up, and not whoever has not used his for long; nodes only
// when there is nobody else.
func TestSessionsAreTakenFromWhoHasMost(t *testing.T) {
	s := grown(0)
	alice, node := open(s, "client/alice"), open(s, "node/n1")
	for range 50 {
		open(s, "node/n2")
	}
	busy := open(s, "client/most") // has one more than each of the others, below
	for i := range 2 * maxSessions {
		if s.sessions.Len() < maxSessions-1 {
			open(s, Identity(fmt.Sprintf("client/c%d", i%300)))
		}
	}
	for range 40 {
		open(s, "client/most")
	}
	for range 100 {
		open(s, "client/late")
	}
	if !has(s, alice) || !has(s, node) || has(s, busy) || s.sessions.Len() != maxSessions {
		t.Errorf("of %d sessions: alice's is there: %t, the node's: %t, the oldest of who had most: %t",
			s.sessions.Len(), has(s, alice), has(s, node), has(s, busy))
	}
	if count, _ := s.owners.Get("node/n2"); count != 50 {
		t.Errorf("a node has %d sessions of its 50 left", count)
	}
	if err := CheckInvariants(&s.View); err != nil {
		t.Error(err)
	}

	s = grown(0)
	for i := range maxSessions + 10 {
		open(s, Identity(fmt.Sprintf("node/n%d", i%9)))
	}
	if s.sessions.Len() != maxSessions {
		t.Errorf("nodes have %d sessions", s.sessions.Len())
	}
}

// What older builds would apply otherwise is of a level that keeps them out.
func TestNamedCommandsAreOfTheirLevel(t *testing.T) {
	for _, test := range []struct {
		cmd  Command
		want Level
	}{
		{&Admit{Request: Request{Session: 1, Seq: 1, Sum: 1}}, LevelNamed},
		{&Admit{Request: Request{Session: 1, Seq: 1}}, LevelFirst},
		{&Admit{AskedBy: "client/a"}, LevelNamed},
		{&OpenSession{AskedBy: "client/a"}, LevelNamed},
		{&OpenSession{}, LevelFirst},
		{&Cancel{AskedBy: "admin/a"}, LevelNamed},
		{&Reorder{}, LevelNamed},
		{&Admit{Urgent: true}, LevelNamed},
		{&Set{Key: KeyQuietWindows}, LevelNamed},
		{&Set{Key: keySerial}, LevelNamed},
		{&Set{Key: "replicas", AskedBy: "admin/a"}, LevelNamed},
	} {
		if got := LevelOf([]Command{test.cmd}); got != test.want {
			t.Errorf("%T %+v is of level %d, want %d", test.cmd, test.cmd, got, test.want)
		}
	}
}

// An answer that is taken from memory is the first one, of its kind, and so is a refusal; what is wrong with the
// request itself is marked so that it can be counted.
func TestAnswersSayTheirKind(t *testing.T) {
	s := grown(1)
	id := open(s, "client/a")
	seal := &Admit{Kind: 2, Extent: 1, Gen: s.Extent(1).Gen, Request: Request{Session: id, Seq: 1, Sum: 5},
		AskedBy: "client/a"}
	for range 2 {
		if res := next(s, seal)[0]; res.Kind != 2 || res.Misused || res.Err == nil || res.Err.Code != wire.CodePrecondition {
			t.Errorf("%+v", res)
		}
	}
	for _, wrong := range []func(*Admit){
		func(a *Admit) { a.AskedBy = "client/b" }, func(a *Admit) { a.AskedBy = "" }, func(a *Admit) { a.Request.Sum = 6 },
	} {
		a := *seal
		wrong(&a)
		if res, ok := s.Answered(&a); !ok || !res.Misused || res.Op != 0 || res.Err == nil {
			t.Errorf("%+v: %+v", a.Request, res)
		}
	}
}
