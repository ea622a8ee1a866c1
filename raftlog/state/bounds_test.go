package state

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
)

// grown is a state with one node and count sealed extents.
func grown(count int) *State {
	s := New()
	s.Apply(1, 0, []Command{
		&Join{Node: "n1", Addr: "a", Incarnation: 1}, &SetNodeState{Node: "n1", State: NodeUp, Incarnation: 1},
		&Join{Node: "n2", Addr: "a", Incarnation: 1}, &SetNodeState{Node: "n2", State: NodeUp, Incarnation: 1},
		&Join{Node: "n3", Addr: "a", Incarnation: 1}, &SetNodeState{Node: "n3", State: NodeUp, Incarnation: 1},
	})
	for range count {
		grow(s, 0)
	}
	return s
}

// grow adds an extent of so many bytes, sealed.
func grow(s *State, length uint64) ExtentID {
	create := next(s, admitCreate())[0].Op
	next(s, &Start{Op: create, Executor: "n1"})
	next(s, &Finish{Op: create, Fence: Fence(s.Applied), Outcome: OutcomeDone})
	id := s.NextExtent - 1
	seal := next(s, &Admit{Kind: policies.KindSeal, Extent: id, Gen: s.Extent(id).Gen})[0].Op
	next(s, &Start{Op: seal, Executor: "n1"})
	next(s, &Finish{Op: seal, Fence: Fence(s.Applied), Outcome: OutcomeDone, Length: length,
		Confirmed: []NodeID{"n1", "n2", "n3"}})
	return id
}

func admitCreate() *Admit {
	return &Admit{Kind: policies.KindCreate, Want: 3, Replicas: []NodeID{"n1", "n2", "n3"}}
}

func next(s *State, cmds ...Command) []Result { return s.Apply(s.Applied+1, s.NowMicros, cmds) }

// A policy that always says wait cannot make the operations on one extent grow without end.
func TestOpenOpsOfAnExtentAreBounded(t *testing.T) {
	s := grown(1)
	var last Result
	for range maxOpenOps + 1 {
		a := &Admit{Kind: policies.KindRepair, Extent: 1, Gen: s.Extent(1).Gen}
		for _, id := range s.Extent(1).Ops {
			a.Decision.Conflicts = append(a.Decision.Conflicts, Conflict{With: id, Final: policies.Wait})
		}
		last = next(s, a)[0]
	}
	if got := len(s.Extent(1).Ops); got != maxOpenOps {
		t.Errorf("%d operations are open, want %d", got, maxOpenOps)
	}
	if last.Err == nil || last.Err.Code != wire.CodeExhausted {
		t.Errorf("one more came to %s, want a refusal", last)
	}
}

// What ended first is forgotten first, not what was admitted first: an operation that took long can
// still be looked at when it has ended.
func TestEndedOperationsAreForgottenInTheOrderOfTheirEnd(t *testing.T) {
	s := grown(0)
	long := next(s, admitCreate())[0].Op
	var ids []OpID
	for range maxEndedOps + 5 {
		id := next(s, admitCreate())[0].Op
		next(s, &Cancel{Op: id})
		ids = append(ids, id)
	}
	next(s, &Cancel{Op: long})
	if s.Op(long) == nil {
		t.Errorf("operation %s was forgotten as it ended", long)
	}
	if s.Op(ids[5]) != nil || s.Op(ids[6]) == nil || s.ended.Len() != maxEndedOps {
		t.Errorf("%d ended operations are kept, want the newest %d", s.ended.Len(), maxEndedOps)
	}
}

// The steps of one operation are bounded: the first and the newest stay.
func TestStepsAreBounded(t *testing.T) {
	s := grown(0)
	id := next(s, admitCreate())[0].Op
	var view *View
	var before string
	for i := range 3 * maxSteps {
		if i == 2*maxSteps {
			view = s.Snapshot()
			before = Dumped(view)
		}
		next(s, &Rescore{Op: id, Decision: Decision{Priority: int32(i + 1), Reason: fmt.Sprint(i)}})
	}
	steps := s.Op(id).Steps
	if len(steps) != maxSteps || steps[0].Index != id.Index() || steps[maxSteps-1].Index != s.Applied {
		t.Errorf("%d steps from %d to %d", len(steps), steps[0].Index, steps[len(steps)-1].Index)
	}
	if Dumped(view) != before {
		t.Error("steps of a snapshot have changed")
	}
}

// Texts that come with commands are cut, between characters.
func TestTextsAreBounded(t *testing.T) {
	s := grown(0)
	id := next(s, admitCreate())[0].Op
	next(s, &Cancel{Op: id, Note: "a" + strings.Repeat("ä", maxTextBytes)})
	if d := s.Op(id).Detail; len(d) > maxTextBytes+len("…") || !utf8.ValidString(d) {
		t.Errorf("%d bytes are kept, valid %t", len(d), utf8.ValidString(d))
	}
}

// A session keeps the newest answers, in whatever order its requests arrive, and does not run again
// what it may have answered. Snapshots taken in between do not change.
func TestAnswersOfASessionAreBounded(t *testing.T) {
	s := grown(0)
	id := next(s, &OpenSession{Client: "cli"})[0].Session
	ask := func(seq uint64) Result {
		a := admitCreate()
		a.Request = Request{Session: id, Seq: seq}
		return next(s, a)[0]
	}
	for seq := uint64(2); seq <= maxAnswers; seq += 2 {
		ask(seq)
	}
	view := s.Snapshot()
	before := Dumped(view)
	for seq := uint64(1); seq <= maxAnswers+10; seq += 2 {
		ask(seq)
	}
	for seq := uint64(maxAnswers + 2); seq <= maxAnswers+10; seq += 2 {
		ask(seq)
	}
	if Dumped(view) != before {
		t.Error("answers of a snapshot have changed")
	}
	extents := s.NextExtent
	for seq := uint64(1); seq <= maxAnswers+10; seq++ {
		if res := ask(seq); (res.Err == nil) != (seq > 10) {
			t.Errorf("request %d again: %s", seq, res)
		}
	}
	if s.NextExtent != extents {
		t.Errorf("asking again made %d extents", s.NextExtent-extents)
	}
}

// Two states that were restored from one dump share nothing that either writes to.
func TestRestoredStatesShareNothing(t *testing.T) {
	s := grown(0)
	id := next(s, &OpenSession{})[0].Session
	ask := func(s *State, seq uint64, n NodeID) {
		a := admitCreate()
		a.Request, a.Replicas = Request{Session: id, Seq: seq}, []NodeID{n}
		next(s, a)
	}
	for seq := range uint64(3) {
		ask(s, seq+1, "n1") // leaves room to append one more
	}
	other, err := restored(&s.View)
	if err != nil {
		t.Fatal(err)
	}
	next(other, &Set{Key: "replicas", Value: "2"})
	ask(s, 4, "n1")
	before := Dumped(&s.View)
	ask(other, 5, "n2")
	if Dumped(&s.View) != before {
		t.Error("what one state did has changed the other")
	}
}

// When there are too many sessions, the one that was not used for longest goes first.
func TestSessionsAreBounded(t *testing.T) {
	s := grown(0)
	used := next(s, &OpenSession{})[0].Session
	idle := next(s, &OpenSession{})[0].Session
	for range maxSessions + 100 {
		s.NowMicros++
		next(s, &OpenSession{})
		a := admitCreate()
		a.Request = Request{Session: used, Seq: uint64(s.Applied)}
		next(s, a)
	}
	if _, ok := s.sessions.Get(used); !ok || s.sessions.Len() > maxSessions {
		t.Errorf("the session in use is there: %t; there are %d sessions", ok, s.sessions.Len())
	}
	if _, ok := s.sessions.Get(idle); ok {
		t.Error("an idle session outlived newer ones")
	}
	if err := CheckInvariants(&s.View); err != nil {
		t.Error(err)
	}
}

// Every command type has a name and a zero value that is refused or harmless, never a panic.
func TestZeroCommands(t *testing.T) {
	for typ := CommandType(1); typ <= TypePause; typ++ {
		c := NewCommand(typ)
		if c == nil {
			if typ != 20 { // not used yet
				t.Errorf("there is no command of type %d", typ)
			}
			continue
		}
		if c.CommandType() != typ || typ.String() == "unknown" {
			t.Errorf("type %d is %T with type %d, named %s", typ, c, c.CommandType(), typ)
		}
		s := grown(1)
		before := Dumped(&s.View)
		res := next(s, c)[0]
		if err := CheckInvariants(&s.View); err != nil {
			t.Errorf("%T came to %s: %v", c, res, err)
		}
		s.Applied--
		switch c.(type) {
		case *OpenSession, *Gone, *Punch: // need nothing
		case *ActivatePolicy: // the native default is active already
		default:
			if res.Err == nil || Dumped(&s.View) != before {
				t.Errorf("an empty %T came to %s", c, res)
			}
		}
	}
}

// An entry has no more commands than an operation ID has places.
func TestCommandsOfAnEntryAreBounded(t *testing.T) {
	s := grown(0)
	cmds := make([]Command, MaxCommands+1)
	for i := range cmds {
		cmds[i] = &OpenSession{}
	}
	res := next(s, cmds...)
	if res[MaxCommands-1].Err != nil || res[MaxCommands].Err == nil {
		t.Errorf("the last that fits came to %s, the next to %s", res[MaxCommands-1], res[MaxCommands])
	}
}

func FuzzParseOpID(f *testing.F) {
	for _, seed := range []string{"4711", "4711.3", "1.65535", "0", "4711.0", "1.65536", "281474976710655", "-1", "1.",
		".1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseOpID(text)
		if err != nil {
			return
		}
		if again, err := ParseOpID(id.String()); err != nil || again != id {
			t.Errorf("%q is %d, written %q, read again as %d: %v", text, id, id, again, err)
		}
	})
}

// BenchmarkAdmit applies entries of one delete each to a state of 100,000 sealed extents, and takes
// the snapshot that readers get after each entry.
func BenchmarkAdmit(b *testing.B) {
	const extents = 100_000
	s := grown(extents)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		e := s.Extent(ExtentID(i*7919%extents + 1))
		a := &Admit{Kind: policies.KindDelete, Extent: e.ID, Gen: e.Gen}
		for _, id := range e.Ops {
			a.Decision.Conflicts = append(a.Decision.Conflicts, Conflict{With: id, Final: policies.Merge})
		}
		if res := next(s, a)[0]; res.Err != nil {
			b.Fatal(res)
		}
		s.Snapshot()
		i++
	}
}

// BenchmarkAdmitBatch is the same with entries of 256.
func BenchmarkAdmitBatch(b *testing.B) {
	const extents, batch = 100_000, 256
	s := grown(extents)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		var cmds []Command
		for range batch {
			e := s.Extent(ExtentID(i*7919%extents + 1))
			a := &Admit{Kind: policies.KindDelete, Extent: e.ID, Gen: e.Gen}
			for _, id := range e.Ops {
				a.Decision.Conflicts = append(a.Decision.Conflicts, Conflict{With: id, Final: policies.Merge})
			}
			cmds = append(cmds, a)
			i++
		}
		next(s, cmds...)
		s.Snapshot()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(i), "ns/admit")
}
