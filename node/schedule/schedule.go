// Package schedule says what starts next: which queued operations may start, where a copy reads and
// writes, where a new extent goes. It is pure: the leader calls it with a view and proposes what it
// answers; the entries that follow are what really happens.
//
// Order is by priority, then by age. An operation that cannot start now (it waits for another, its
// nodes are at their limit, nobody can take the replica) does not hold up the ones behind it.
package schedule

import (
	"fmt"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// MaxStarts bounds the starts of one round, and so the size of the entry that carries them.
const MaxStarts = 128

// Round is what one look at the queue came to.
type Round struct {
	Starts []*state.Start
	// Needless are queued repairs and moves that have nothing left to do.
	Needless []*state.Cancel
}

// Next is the next round. It reads only v.
func Next(v *state.View) Round {
	p := newPlan(v)
	var r Round
	v.Queued(func(o *state.Op) bool {
		if o.Copies() && needless(v, o) {
			r.Needless = append(r.Needless, &state.Cancel{Op: o.ID, Note: "no longer needed: the extent has its replicas"})
			return len(r.Needless) < MaxStarts
		}
		if s, why := p.start(o); why == "" {
			r.Starts = append(r.Starts, s)
		}
		return len(r.Starts) < MaxStarts && p.running < int(v.Settings.MaxRunning)
	})
	return r
}

// Blocked says why a queued operation does not start, "" when it could start now, for people.
func Blocked(v *state.View, o *state.Op) string {
	_, why := newPlan(v).start(o)
	return why
}

// plan counts what runs, and what this round has added.
type plan struct {
	v       *state.View
	running int
	reads   map[state.NodeID]int
	writes  map[state.NodeID]int
}

func newPlan(v *state.View) *plan {
	p := &plan{v: v, reads: map[state.NodeID]int{}, writes: map[state.NodeID]int{}}
	v.Running(func(o *state.Op) bool {
		if o.Kind != policies.KindDecommission { // lasts long and costs nothing by itself
			p.running++
		}
		if o.Copies() {
			p.reads[o.Source]++
			p.writes[o.Target]++
		}
		return true
	})
	return p
}

// start is how o would start, or why it cannot.
func (p *plan) start(o *state.Op) (s *state.Start, why string) {
	if why := p.held(o); why != "" {
		return nil, why
	}
	s = &state.Start{Op: o.ID}
	switch o.Kind {
	case policies.KindCreate:
		s.Executor, why = p.primary(o)
	case policies.KindSeal:
		s.Executor, why = p.sealer(o)
	case policies.KindRepair, policies.KindMove:
		why = p.copyPath(o, s)
	}
	if why != "" {
		return nil, why
	}
	p.running++
	if o.Copies() {
		p.reads[s.Source]++
		p.writes[s.Target]++
	}
	return s, ""
}

// held tells what keeps o back whatever its kind.
func (p *plan) held(o *state.Op) string {
	for _, w := range o.Waits {
		if other := p.v.Op(w); other != nil && !other.State.Ended() {
			return fmt.Sprintf("waits for %s %s, which is %s", other.Kind, other.ID, other.State)
		}
	}
	if o.NotBeforeMicros > p.v.NowMicros {
		return fmt.Sprintf("pauses before attempt %d: %s", o.Attempts+1, o.Detail)
	}
	if limit := int(p.v.Settings.MaxRunning); p.running >= limit {
		return fmt.Sprintf("%d operations are running, the limit (max-running)", limit)
	}
	return ""
}

func (p *plan) primary(o *state.Op) (state.NodeID, string) {
	e := p.v.Extent(o.Extent)
	n := p.v.Node(e.Primary())
	if n == nil || n.State != state.NodeUp {
		return "", fmt.Sprintf("its primary %s is not up", e.Primary())
	}
	return n.ID, ""
}

// sealer is the node that carries out a seal: the first that is up and has a whole replica.
func (p *plan) sealer(o *state.Op) (state.NodeID, string) {
	e := p.v.Extent(o.Extent)
	for _, r := range e.Replicas {
		if n := p.v.Node(r.Node); r.State == state.ReplicaWhole && n != nil && n.State == state.NodeUp {
			return n.ID, ""
		}
	}
	return "", "no node with a replica is up"
}

// needless tells whether a queued copy has nothing left to do.
func needless(v *state.View, o *state.Op) bool {
	e := v.Extent(o.Extent)
	if e == nil || e.State != state.ExtentSealed {
		return false
	}
	if o.Kind == policies.KindMove {
		_, holds := e.Replica(o.Node)
		return !holds
	}
	return v.Live(e) >= int(e.Want)
}
