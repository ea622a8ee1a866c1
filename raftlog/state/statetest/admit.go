package statetest

import (
	"context"
	"fmt"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// Overrides are parts of a decision that a test makes itself. Zero fields leave them to the native
// policy and the state as it is.
type Overrides struct {
	Priority *int32
	Verdict  policies.Verdict
	Gen      *uint64
	Epoch    *uint64
}

// admit reads a line such as
//
//	create on=n1,n2,n3 [want=3] [class=c] [owner=client/c]     decommission n1     recommission n1
//	seal 1 | repair 1 | delete 1              move 1 from=n1 [to=n4 [named]] [parent=7]
//
// delete takes [grace=24h]; each with [urgent] [start] [session= seq= sum=] [as=client/me]
// [origin=user|cell|decommission] and [priority=] [verdict=] [gen=] [epoch=], which override what is decided.
func (l *line) admit() (a *state.Admit, ok bool) {
	kind, ok := policies.ParseKind(l.word)
	if !ok {
		return nil, false
	}
	a = &state.Admit{Kind: kind, Origin: l.origin(), Urgent: l.has("urgent"), Start: l.has("start")}
	switch kind {
	case policies.KindCreate:
		a.Replicas, a.Class, a.Owner = l.nodes("on"), l.keys["class"], state.Identity(l.keys["owner"])
		a.Want = uint8(l.number("want", uint64(len(a.Replicas))))
	case policies.KindDecommission, policies.KindRecommission:
		a.Node = state.NodeID(l.arg(0))
	default:
		a.Extent, a.Node, a.Target, a.Named = l.extent(), l.node("from"), l.node("to"), l.has("named")
		a.GraceMicros = l.duration("grace")
		if text, ok := l.keys["parent"]; ok {
			a.Parent, l.err = l.cell.Op(text)
		}
	}
	if text, ok := l.keys["session"]; ok {
		id, err := l.cell.Op(text)
		a.Request, l.err = state.Request{Session: state.SessionID(id), Seq: l.number("seq", 1), Sum: l.number("sum", 0)}, err
	}
	a.AskedBy = l.asker()
	return a, true
}

// punch reads "punch 1:0+4096 1:8192+4096 [session= seq=] [as=client/me]". Its sum is that of its ranges.
func (l *line) punch() *state.Punch {
	p := &state.Punch{AskedBy: l.asker()}
	for _, text := range l.args {
		at, err := wire.ParseLocator(text)
		if l.err == nil {
			l.err = err
		}
		p.Ranges = append(p.Ranges, state.Range{
			Extent: state.ExtentID(at.Extent), Offset: at.Offset, Length: at.Length, Birth: at.Birth,
		})
	}
	if text, ok := l.keys["session"]; ok {
		id, err := l.cell.Op(text)
		p.Request, l.err = state.Request{Session: state.SessionID(id), Seq: l.number("seq", 1), Sum: p.Sum()}, err
	}
	return p
}

func (l *line) origin() policies.Origin {
	switch l.keys["origin"] {
	case "cell":
		return policies.OriginCell
	case "decommission":
		return policies.OriginDecommission
	}
	return policies.OriginUser
}

func (l *line) overrides() (o Overrides) {
	if l.keys["priority"] != "" {
		p := l.priority()
		o.Priority = &p
	}
	if l.keys["gen"] != "" {
		n := l.number("gen", 0)
		o.Gen = &n
	}
	if l.keys["epoch"] != "" {
		n := l.number("epoch", 0)
		o.Epoch = &n
	}
	for v := policies.Coexist; v <= policies.Reject; v++ {
		if v.String() == l.keys["verdict"] {
			o.Verdict = v
		}
	}
	return o
}

// Decide writes a decision into an admit, as a leader with the native policy would.
func (c *Cell) Decide(a *state.Admit, o Overrides) {
	s := c.State
	incoming := s.Facts(&state.Op{Kind: a.Kind, Extent: a.Extent, Node: a.Node, Origin: a.Origin}, policies.PhaseIncoming)
	a.Decision = state.Decision{Policy: "native", Epoch: s.PolicyEpoch, Facts: incoming}
	a.Decision.Priority, a.Decision.Reason = score(incoming)
	if e := s.Extent(a.Extent); e != nil {
		a.Gen = e.Gen
		c.resolve(a, incoming, e.Ops, o.Verdict)
	} else if n := s.Node(a.Node); n != nil && a.Extent == 0 {
		c.resolve(a, incoming, n.Ops, o.Verdict)
	}
	if o.Priority != nil {
		a.Decision.Priority = *o.Priority
	}
	if o.Gen != nil {
		a.Gen = *o.Gen
	}
	if o.Epoch != nil {
		a.Decision.Epoch = *o.Epoch
	}
}

func score(f policies.Facts) (priority int32, reason string) {
	native := policies.Native()
	var out [1]policies.Score
	if _, err := native.Score(context.Background(), []policies.Facts{f}, out[:]); err != nil {
		panic(fmt.Sprintf("statetest: the native policy failed: %v", err)) // it has no way to
	}
	return out[0].Priority, native.Info().Reason(out[0].Reason)
}

func (c *Cell) resolve(a *state.Admit, incoming policies.Facts, open []state.OpID, forced policies.Verdict) {
	native := policies.Native()
	for _, id := range open {
		existing := c.State.Op(id)
		phase := policies.PhaseQueued
		if existing.State == state.OpRunning {
			phase = policies.PhaseRunning
		}
		pair := policies.Pair{Existing: c.State.Facts(existing, phase), Incoming: incoming, SameNode: existing.Node == a.Node}
		var out [1]policies.Resolution
		if _, err := native.Conflict(context.Background(), []policies.Pair{pair}, out[:]); err != nil {
			panic(fmt.Sprintf("statetest: the native policy failed: %v", err)) // it has no way to
		}
		k := state.Conflict{With: id, WithKind: existing.Kind, Asked: out[0].Verdict,
			Reason: native.Info().Reason(out[0].Reason)}
		k.Final, _ = policies.Judge(existing.Kind, a.Kind, pair.SameNode, k.Asked)
		if forced != 0 {
			k.Asked, k.Final, k.Reason = forced, forced, "the test says so"
		}
		a.Decision.Conflicts = append(a.Decision.Conflicts, k)
	}
}
