package state

import (
	"fmt"
	"slices"
	"testing"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
)

// meeting is a cell in which an operation is open, and another one comes for the same extent or node.
type meeting struct {
	existing, incoming policies.Kind
	running            bool // the existing one
	sameNode           bool
	verdict            policies.Verdict
}

func (m meeting) String() string {
	phase := "queued"
	if m.running {
		phase = "running"
	}
	if m.sameNode {
		phase += ", same node"
	}
	return fmt.Sprintf("%s of %s to %s %s", m.verdict, m.incoming, phase, m.existing)
}

// hold brings the existing operation in.
func (m meeting) hold(t *testing.T) (*State, *Op) {
	t.Helper()
	s := grown(1)
	next(s, &Join{Node: "n4", Addr: "a", Incarnation: 1}, &SetNodeState{Node: "n4", State: NodeUp, Incarnation: 1})
	if m.existing == policies.KindPunch || m.incoming == policies.KindPunch { // which needs something that is deleted
		next(s, &Punch{Ranges: []Range{{Extent: grow(s, 10), Length: 5}}})
	}
	if m.existing == policies.KindCreate || m.existing == policies.KindSeal { // an extent that is not sealed yet
		create := next(s, admitCreate())[0].Op
		if m.existing == policies.KindSeal {
			next(s, &Start{Op: create, Executor: "n1"})
			next(s, &Finish{Op: create, Fence: Fence(s.Applied), Outcome: OutcomeDone})
		}
	}
	if m.existing == policies.KindRecommission {
		d := next(s, m.admit(s, policies.KindDecommission, true))[0].Op
		next(s, &Start{Op: d, Executor: "n2"})
	}
	var id OpID
	if m.existing == policies.KindCreate {
		id = s.Extent(s.NextExtent - 1).Ops[0]
	} else {
		res := next(s, m.admit(s, m.existing, true))[0]
		if res.Err != nil {
			t.Fatalf("%s: %v", m, res.Err)
		}
		id = res.Op
	}
	if m.running {
		start := &Start{Op: id, Executor: "n2"}
		if m.existing == policies.KindPunch {
			start.Executor = "n1"
		}
		if m.existing == policies.KindRepair {
			next(s, &SetNodeState{Node: "n1", State: NodeDown, Incarnation: 1})
		}
		if m.existing == policies.KindRepair || m.existing == policies.KindMove {
			start.Source, start.Target, start.Replaces = "n2", "n4", "n1"
		}
		if res := next(s, start)[0]; res.Err != nil {
			t.Fatalf("%s does not start: %v", m.existing, res.Err)
		}
	}
	return s, s.Op(id)
}

// admit is the command that brings an operation of a kind in, decided by the verdict of m about what is open.
func (m meeting) admit(s *State, kind policies.Kind, existing bool) *Admit {
	a := &Admit{Kind: kind}
	var open []OpID
	switch kind {
	case policies.KindDecommission, policies.KindRecommission:
		a.Node = "n1"
		open = s.Node("n1").Ops
	default:
		a.Extent = s.NextExtent - 1
		e := s.Extent(a.Extent)
		a.Gen, open = e.Gen, e.Ops
		if kind == policies.KindMove || kind == policies.KindPunch {
			a.Node = "n1"
			if !existing && !m.sameNode {
				a.Node = "n2"
			}
		}
	}
	verdict := m.verdict
	if existing {
		verdict = policies.Supersede // what was there before it
	}
	for _, id := range open {
		a.Decision.Conflicts = append(a.Decision.Conflicts, Conflict{With: id, Final: verdict})
	}
	return a
}

// possible reports whether the incoming operation makes sense while the existing one is open; what does not is refused
// whatever a policy says.
func (m meeting) possible() bool {
	switch {
	case m.existing == policies.KindDelete && m.running:
		return false // the extent is gone
	case m.existing == policies.KindCreate, m.existing == policies.KindSeal:
		return m.incoming == policies.KindSeal || m.incoming == policies.KindDelete // others need a sealed one
	}
	return m.incoming != policies.KindSeal // it is sealed
}

func everyMeeting(check func(meeting)) {
	for existing := policies.KindCreate; existing <= policies.KindRecommission; existing++ {
		for incoming := policies.KindCreate; incoming <= policies.KindRecommission; incoming++ {
			for v := policies.Verdict(0); policies.Meet(existing, incoming) && v <= policies.Reject+1; v++ {
				for _, running := range []bool{false, true} {
					if running && existing == policies.KindRecommission {
						continue // it ends as it starts
					}
					check(meeting{existing, incoming, running, false, v})
					if existing == incoming && (existing == policies.KindMove || existing == policies.KindPunch) {
						check(meeting{existing, incoming, running, true, v})
					}
				}
			}
		}
	}
}

// What the envelope allows is done as the verdict says, on every replica alike, and all else is refused and changes
// nothing: for each pair of kinds that can meet, each phase of the one that is there, and each verdict.
func TestEnvelopeIsKept(t *testing.T) {
	seen := map[string]int{}
	everyMeeting(func(m meeting) {
		s, held := m.hold(t)
		sameNode := held.Node == m.admit(s, m.incoming, false).Node
		safe := policies.Envelope(m.existing, m.incoming, sameNode)
		res := next(s, m.admit(s, m.incoming, false))[0]
		now := s.Op(held.ID)
		switch {
		case !m.possible():
			seen["impossible"]++
			if res.Err == nil || res.Err.Code != wire.CodePrecondition && res.Err.Code != wire.CodeNotFound {
				t.Errorf("%s came to %s, but is impossible", m, res)
			}
		case !safe.Allowed.Has(m.verdict):
			seen["refused"]++
			if res.Err == nil || res.Err.Code != wire.CodeEnvelope || now != held {
				t.Errorf("%s came to %s, and %s is %s", m, res, held, now)
			}
		default:
			seen[m.verdict.String()]++
			m.checkDone(t, s, held, res)
		}
		if err := CheckInvariants(&s.View); err != nil {
			t.Errorf("%s: %v", m, err)
		}
	})
	for _, what := range []string{"impossible", "refused", "wait", "supersede", "merge", "reject"} {
		if seen[what] == 0 {
			t.Errorf("no meeting was %s: %v", what, seen)
		}
	}
}

// checkDone holds what an allowed verdict came to against what it says.
func (m meeting) checkDone(t *testing.T, s *State, held *Op, res Result) {
	t.Helper()
	now, o := s.Op(held.ID), s.Op(res.Op)
	ok := o != nil && (res.Err == nil) == (m.verdict != policies.Reject)
	switch m.verdict {
	case policies.Wait:
		if m.existing == policies.KindPunch && m.incoming != policies.KindPunch { // a rewrite is in nobody's way
			ok = ok && o.State == OpQueued && len(o.Waits) == 0 && now.State == OpSuperseded && now.By == o.ID
			break
		}
		ok = ok && o.State == OpQueued && slices.Contains(o.Waits, held.ID) && now == held
	case policies.Supersede:
		waits := ok && slices.Contains(o.Waits, held.ID) && now.State == held.State
		ok = ok && o.State == OpQueued && (waits || now.State == OpSuperseded && now.By == o.ID)
	case policies.Merge:
		ok = ok && res.Merged && o == now && now.State == held.State
	case policies.Reject:
		ok = ok && res.Err.Code == wire.CodeConflict && o.State == OpRejected && o.By == held.ID && now == held
	}
	if !ok {
		t.Errorf("%s came to %s: %s is %s, the new one %v", m, res, held, now, o)
	}
}

// A decision that was made against other operations than those that are open is made again.
func TestDecidedAgainstOthers(t *testing.T) {
	for name, conflicts := range map[string][]Conflict{
		"none":    nil,
		"another": {{With: 99, Final: policies.Wait}},
	} {
		m := meeting{existing: policies.KindRepair, incoming: policies.KindMove, verdict: policies.Wait}
		s, held := m.hold(t)
		a := m.admit(s, policies.KindMove, false)
		a.Decision.Conflicts = conflicts
		if res := next(s, a)[0]; !res.Stale || len(s.Extent(held.Extent).Ops) != 1 {
			t.Errorf("decided against %s: %s", name, res)
		}
	}
}

// A create is given its number, and cannot be for an extent that is there.
func TestCreateNamesNothing(t *testing.T) {
	s := grown(1)
	for _, a := range []*Admit{{Kind: policies.KindCreate, Extent: 1}, {Kind: policies.KindCreate, Node: "n1"}} {
		a.Want, a.Replicas = 3, []NodeID{"n1", "n2", "n3"}
		if res := next(s, a)[0]; res.Err == nil || res.Err.Code != wire.CodeInvalid || s.NextExtent != 2 {
			t.Errorf("%+v: %s", a, res)
		}
	}
}

// Only what has a number that this build knows is an operation.
func TestUnknownKind(t *testing.T) {
	s := grown(1)
	for _, kind := range []policies.Kind{0, maxKind + 1, 255} {
		a := &Admit{Kind: kind, Extent: 1, Gen: s.Extent(1).Gen}
		if res := next(s, a)[0]; res.Err == nil || res.Err.Code != wire.CodeInvalid || len(s.Extent(1).Ops) > 0 {
			t.Errorf("kind %d: %s", kind, res)
		}
	}
}

// The order that people choose is bounded, so that what it writes is.
func TestChosenOrderIsBounded(t *testing.T) {
	s := grown(maxTurns + 2)
	if res := next(s, &Set{Key: keySerial, Value: "repair"})[0]; res.Err != nil {
		t.Fatal(res.Err)
	}
	var ids []OpID
	for id := range ExtentID(maxTurns + 2) {
		a := &Admit{Kind: policies.KindRepair, Extent: id + 1, Gen: s.Extent(id + 1).Gen}
		ids = append(ids, next(s, a)[0].Op)
	}
	last := ids[maxTurns+1]
	if res := next(s, &Reorder{Op: last, Before: ids[maxTurns]})[0]; res.Err == nil || res.Err.Code != wire.CodeExhausted {
		t.Errorf("%d places: %s", maxTurns+1, res)
	}
	if res := next(s, &Reorder{Op: last, Before: ids[maxTurns-1]})[0]; res.Err != nil || s.Op(last).Turn != maxTurns {
		t.Errorf("%d places: %s, it has %d", maxTurns, res, s.Op(last).Turn)
	}
}
