package schedule

import (
	"fmt"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// A policy may put some operations behind others for ever, and a stream of those that it puts first may have no end. So
// an operation waits by its priority for max-wait at most. Then it is overdue, and goes by its age: of the running
// operations of the cell, of the copies that read from each node and of those that write to it, half of the places,
// rounded up, are for the overdue, the oldest first. What came later than an overdue operation never takes the place
// that is its own; and those that came before it are finite. Of deletes, and of kinds that run one at a time, all
// places are.
//
// Half, and not all: in a long recovery all that is queued becomes overdue, and a client's create, or a repair of what
// has just lost a replica, must not wait for all of it.
//
// Two things still come before the overdue: what a person has put in an order of his own, and repairs at the last copy
// if the policy puts them before all else.

// inOrder goes through the queue in the order in which operations start. Lines that are not open are passed over; nil:
// all are. An operation may come twice: by its age, and then by its priority; not if it is done.
func (l *Look) inOrder(open func(state.Line) bool, try func(o *state.Op, byAge bool) bool) {
	late, more := l.anyOverdue(), true
	if late {
		l.v.QueuedIn(open, func(o *state.Op) bool {
			if o.Turn == 0 && !lastCopy(o) {
				return false
			}
			more = try(o, false)
			return more
		})
	}
	if late && more {
		ofAge := func(line state.Line) bool {
			return (open == nil || open(line)) && !(l.halfGone && counted(line.Kind))
		}
		l.v.Waiting(ofAge, func(o *state.Op) bool {
			if !l.overdue(o) {
				return false
			}
			more = l.done[o.ID] || try(o, true)
			return more
		})
	}
	if more {
		skip := late && !l.shared && !l.halfGone // all the overdue have just been tried
		l.v.QueuedIn(open, func(o *state.Op) bool {
			return l.done[o.ID] || skip && l.overdue(o) || try(o, false)
		})
	}
}

// open says whether an operation of a line could start, as far as limits go that are those of all of the line. One that
// has closed stays so for the round.
func (l *Look) open(line state.Line) bool {
	if l.serial.Has(line.Kind) && l.alone[line.Kind] != nil {
		return false
	}
	switch line.Kind {
	case policies.KindDecommission, policies.KindRecommission, policies.KindPunch:
		return true
	case policies.KindDelete:
		return l.deletes < maxDeletes
	case policies.KindRepair, policies.KindMove:
		if l.crowded() {
			return false
		}
	}
	limit := int(l.v.Settings.MaxRunning)
	return len(l.running) < limit && !(line.Caller && l.shares.fullOf(line.Who, limit) != "")
}

// counted reports whether max-running is about a kind.
func counted(k policies.Kind) bool {
	switch k {
	case policies.KindDelete, policies.KindDecommission, policies.KindRecommission, policies.KindPunch:
		return false
	}
	return true
}

// lastCopy reports whether an operation repairs what hangs on one copy, as when it was last scored.
func lastCopy(o *state.Op) bool {
	return o.Kind == policies.KindRepair && o.Decision.Facts.LiveReplicas == 1
}

// overdue reports whether a queued operation has waited for longer than max-wait.
func (l *Look) overdue(o *state.Op) bool { return l.waited(o) > l.v.Settings.MaxWait() }

func (l *Look) waited(o *state.Op) state.Micros { return l.now - o.SinceMicros() }

func (l *Look) anyOverdue() (any bool) {
	l.v.Waiting(nil, func(o *state.Op) bool { any = l.overdue(o); return false })
	return any
}

// half is how many of a number of places are for the overdue.
func half[N uint8 | uint16](limit N) int { return (int(limit) + 1) / 2 }

// older is how many of ids came before id.
func older(ids []state.OpID, id state.OpID) int {
	n := 0
	for _, other := range ids {
		if other < id {
			n++
		}
	}
	return n
}

// entitled reports whether o, which is overdue, has a right to the places of a start: those that came before it have
// less than half of them. It does not matter why those run. That bounds for each operation what it waits for, without
// anything to remember: what came before it becomes less and less.
func (l *Look) entitled(o *state.Op, source, target state.NodeID) bool {
	if !counted(o.Kind) {
		return true
	}
	limits := &l.v.Settings
	if older(l.running, o.ID) >= half(limits.MaxRunning) {
		l.halfGone = true // for all that are younger, too
		return false
	}
	return !o.Copies() || older(l.reads[source], o.ID) < half(limits.CopiesPerSource) &&
		older(l.writes[target], o.ID) < half(limits.CopiesPerTarget)
}

// keep sets a place at its source and one at its target aside for the first overdue copy that waits for either. Else
// those might never be free at the same moment.
func (l *Look) keep(o *state.Op) {
	if l.kept || !o.Copies() || l.held(o) != "" {
		return
	}
	source, target := l.ends(o)
	if source == "" || target == "" || !l.entitled(o, source, target) {
		return
	}
	l.kept = true
	if len(l.reads[source]) < int(l.v.Settings.CopiesPerSource) {
		l.reads[source] = append(l.reads[source], o.ID)
	}
	if len(l.writes[target]) < int(l.v.Settings.CopiesPerTarget) {
		l.writes[target] = append(l.writes[target], o.ID)
	}
}

// wantsPlace reports whether o, which cannot start, waits only for others to end.
func (l *Look) wantsPlace(o *state.Op) bool {
	if l.barred(o) != "" {
		return false
	}
	source, target := l.ends(o)
	return l.limited(o) != "" || source != "" && target != ""
}

// ends are nodes between which o could copy if they had places, "" for none.
func (l *Look) ends(o *state.Op) (source, target state.NodeID) {
	e := l.v.Extent(o.Extent)
	if !o.Copies() || e == nil || !e.Copyable(o.Kind) || e.Damaged {
		return "", ""
	}
	return l.sourceOf(o, e), l.targetOf(o, e)
}

// sourceOf is a node that a copy could be read from, "" for none; always the same while nothing but places changes.
func (l *Look) sourceOf(o *state.Op, e *state.Extent) (first state.NodeID) {
	for _, r := range e.Replicas {
		n := l.v.Node(r.Node)
		if r.State != state.ReplicaWhole || n == nil || n.State != state.NodeUp {
			continue
		}
		if r.Node == o.Node {
			return r.Node
		}
		if first == "" {
			first = r.Node
		}
	}
	return first
}

// targetOf is a node that a copy could be written to, "" for none; always the same while nothing but places changes.
func (l *Look) targetOf(o *state.Op, e *state.Extent) (first state.NodeID) {
	for _, id := range l.takers {
		if !l.able(o, e, id) {
			continue
		}
		if id == o.Target {
			return id
		}
		if first == "" && !o.Named {
			first = id
		}
	}
	return first
}

// byAge says of an overdue operation that it is, and how many have been so for longer.
func (l *Look) byAge(o *state.Op) string {
	if l.ages == nil {
		l.ages = map[state.OpID]int{}
		l.v.Waiting(nil, func(other *state.Op) bool {
			l.ages[other.ID] = len(l.ages)
			return len(l.ages) < maxLine
		})
	}
	ahead, known := l.ages[o.ID]
	before := ""
	switch {
	case !known:
		before = fmt.Sprintf(", after the %d or more that have waited longer", maxLine)
	case ahead == 1:
		before = ", after the one that has waited longer"
	case ahead > 1:
		before = fmt.Sprintf(", after the %d that have waited longer", ahead)
	}
	return fmt.Sprintf("has waited %s, longer than max-wait, so it comes by its age%s",
		roundly(l.waited(o).Duration()), before)
}
