package schedule

import (
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// AtOnce marks those of admits, decided together under v, that start in their own entry: which a round after it would
// start, whatever else it would. So no queued operation that comes before one, or of the same rank, may want its place;
// of many that are admitted together, those that the policy puts last wait where not all of them can start.
func AtOnce(v *state.View, m Moment, admits []*state.Admit) {
	if !v.AllReach(state.LevelBegun) {
		return
	}
	var creates, deletes []*state.Admit
	for _, a := range admits {
		switch a.Kind {
		case policies.KindCreate:
			creates = append(creates, a)
		case policies.KindDelete:
			deletes = append(deletes, a)
		}
	}
	if n := v.KindLoad(policies.KindDelete); n.Running+n.Queued+len(deletes) <= maxDeletes {
		for _, a := range deletes {
			a.Start = true
		}
	}
	if len(creates) > 0 {
		createAtOnce(v, m, creates)
	}
}

// createAtOnce marks all creates or none. Where there are too few places for them and for what comes before them, a
// round says whose turn it is.
func createAtOnce(v *state.View, m Moment, creates []*state.Admit) {
	lowest := creates[0].Decision.Priority
	for _, a := range creates {
		lowest = min(lowest, a.Decision.Priority)
	}
	l := LookAt(v, m)
	free := int(v.Settings.MaxRunning) - len(l.running) - len(creates) - l.overduePlaces()
	v.Queued(func(o *state.Op) bool {
		if o.Turn == 0 && o.Decision.Priority < lowest {
			return false
		}
		if o.Kind != policies.KindDelete {
			free--
		}
		return free >= 0
	})
	if free < 0 {
		return
	}
	for _, a := range creates {
		o := &state.Op{Kind: a.Kind, Origin: a.Origin, AskedBy: a.AskedBy}
		if l.shares.full(o, int(v.Settings.MaxRunning)) == "" {
			a.Start = true
			l.shares.count(o)
		}
	}
}

// overduePlaces is how many places overdue operations may take before all others: as many as there are, up to half.
func (l *Look) overduePlaces() (n int) {
	most := half(l.v.Settings.MaxRunning)
	l.v.Waiting(func(line state.Line) bool { return counted(line.Kind) }, func(o *state.Op) bool {
		if !l.overdue(o) {
			return false
		}
		n++
		return n < most
	})
	return n
}
