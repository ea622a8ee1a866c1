// Package schedule says what starts next: which queued operations may start, where a copy reads and
// writes, where a new extent goes. It says, too, which operations the cell needs that nobody asks for
// by name, what cannot be carried out, and who could have a vote. It is pure: the leader calls it with
// a view and proposes what it answers; the entries that follow are what really happens. Nothing in it
// has a goroutine, and nothing but Zones a lock.
//
// Order is by priority, then by age, and by age alone for what has waited too long; see order.go. An operation that
// cannot start now (it waits for another, its nodes are at their limit, nobody can take the replica) does not hold up
// the ones behind it.
package schedule

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// MaxStarts bounds the starts of one round, and so the size of the entry that carries them.
const MaxStarts = 128

// Round is what one look at the queue came to.
type Round struct {
	Starts []*state.Start
	// Needless are queued operations that have nothing left to do, or nobody left to do it for.
	Needless []*state.Cancel
	// Wake is when the first pause of those looked at ends, or the quiet window that holds some; 0 when there is none:
	// look again then.
	Wake state.Micros
}

// Moment is when something is looked at.
type Moment struct {
	// Cell is the leader's idea of the cell's time: that of the view stands still while no entries come, and an
	// operation that pauses would never start in a cell with nothing else to do.
	Cell state.Micros
	Wall state.Micros // what this machine's clock shows; 0: the same
	// Zones are those of the quiet windows.
	Zones *Zones
	Seen  Seen
}

// Seen is what the leader sees of nodes and the log does not say yet. It only chooses among nodes that all would do.
type Seen struct {
	Self   state.NodeID            // the leader: it is there, or nothing would start
	Silent func(state.NodeID) bool // has not been heard of for a moment, and may be called down in the next; nil: nobody
}

// AtTime is the view with the cell's time now in place of the last entry's: delays end although nothing happens.
func AtTime(view *state.View, now state.Micros) *state.View {
	v := *view
	v.NowMicros = max(v.NowMicros, now)
	return &v
}

// Next is the next round.
func Next(v *state.View, m Moment) Round {
	l := LookAt(v, m)
	var r Round
	l.inOrder(l.open, func(o *state.Op, byAge bool) bool { return l.try(o, byAge, &r) })
	return r
}

// try starts o in this round if it can start, by its age only where it has a right to, and reports whether to go on.
func (l *Look) try(o *state.Op, byAge bool, r *Round) bool {
	if h := l.quiet.on(l.v, o); h != nil {
		if h.left > 0 {
			r.wakeAt(l.now + state.Micros(h.left.Microseconds()))
		}
		return true
	}
	if why := needless(l.v, o, l.now); why != "" {
		r.Needless = append(r.Needless, &state.Cancel{Op: o.ID, Note: why})
		l.done[o.ID] = true
		return len(r.Needless) < MaxStarts
	}
	s, why := l.start(o)
	switch {
	case why == "" && byAge && !l.entitled(o, s.Source, s.Target):
		l.shared = true
	case why == "":
		r.Starts = append(r.Starts, s)
		l.begun(o, s)
	case o.NotBeforeMicros > l.now:
		r.wakeAt(o.NotBeforeMicros)
	case byAge:
		l.keep(o)
	}
	return len(r.Starts) < MaxStarts && !l.full()
}

// wakeAt notes that there may be more to start at a moment.
func (r *Round) wakeAt(at state.Micros) {
	if r.Wake == 0 || at < r.Wake {
		r.Wake = at
	}
}

// Blocked says why a queued operation does not start, "" when it could start now, for people. Whether others come
// before it is only looked at where one runs at a time.
func (l *Look) Blocked(o *state.Op) string {
	if o.State != state.OpQueued {
		return ""
	}
	_, why := l.start(o)
	if why != "" && l.overdue(o) && l.wantsPlace(o) {
		why += "; " + l.byAge(o)
	}
	return why
}

// maxDeletes bounds the running deletes. Those have taken effect and only wait for confirmations:
// counted among the rest, a storm of deletes and one slow node would hold up everything else.
const maxDeletes = 10_000

// Look is a view at one moment: it says why operations wait. It counts what runs, and what this round has added. It
// belongs to one goroutine.
type Look struct {
	v        *state.View
	now      state.Micros
	seen     Seen
	takers   []state.NodeID // may be given replicas, by ID
	paused   []*state.Node  // by ID
	running  []state.OpID   // what max-running is about
	deletes  int
	reads    map[state.NodeID][]state.OpID
	writes   map[state.NodeID][]state.OpID
	rewrites map[state.NodeID]*state.Op
	done     map[state.OpID]bool // queued in the view, and started or ended by this round
	shares   shares
	quiet    quiet
	serial   state.KindSet
	alone    [policies.KindRecommission + 1]*state.Op // of each serial kind the one that runs
	line     map[state.OpID]int                       // see ahead
	ages     map[state.OpID]int                       // see byAge

	shared   bool // some of the overdue come by their priority, since half of the places is what is theirs
	halfGone bool // half of max-running is taken by what came before all overdue that are still to be tried
	kept     bool // see keep
}

// LookAt is a look at v.
func LookAt(v *state.View, m Moment) *Look {
	l := &Look{
		v: v, now: max(m.Cell, v.NowMicros), takers: Takers(v), paused: PausedNodes(v),
		reads: map[state.NodeID][]state.OpID{}, writes: map[state.NodeID][]state.OpID{}, done: map[state.OpID]bool{},
		rewrites: map[state.NodeID]*state.Op{},
		serial:   v.Settings.SerialKinds(), seen: m.Seen,
	}
	l.quiet = quiet{all: m.Zones.of(v.Settings.QuietWindows), cell: l.now.Time(), wall: cmp.Or(m.Wall, l.now).Time()}
	v.Running(func(o *state.Op) bool {
		l.count(o, o.Source, o.Target)
		l.shares.count(o)
		return true
	})
	return l
}

func (l *Look) count(o *state.Op, source, target state.NodeID) {
	if l.serial.Has(o.Kind) && l.alone[o.Kind] == nil {
		l.alone[o.Kind] = o
	}
	switch o.Kind {
	case policies.KindDecommission, policies.KindRecommission: // costs nothing by itself
		return
	case policies.KindPunch: // each node has one, which leaves its disk to others
		l.rewrites[o.Node] = o
		return
	case policies.KindDelete:
		l.deletes++
		return
	case policies.KindRepair, policies.KindMove:
		l.reads[source] = append(l.reads[source], o.ID)
		l.writes[target] = append(l.writes[target], o.ID)
	}
	l.running = append(l.running, o.ID)
}

// crowded says that no node takes one more copy, so that a long queue of them is passed over fast.
func (l *Look) crowded() bool { return len(l.takers) > 0 && !slices.ContainsFunc(l.takers, l.room) }

// full reports whether nothing of any kind that counts can start any more.
func (l *Look) full() bool {
	return len(l.running) >= int(l.v.Settings.MaxRunning) && l.deletes >= maxDeletes
}

// before is the operation that must end before o can start, because both are of a kind of which one runs at a time.
func (l *Look) before(o *state.Op) *state.Op {
	if !l.serial.Has(o.Kind) {
		return nil
	}
	return l.alone[o.Kind]
}

// start is how o would start, or why it cannot.
func (l *Look) start(o *state.Op) (s *state.Start, why string) {
	if why := l.held(o); why != "" {
		return nil, why
	}
	s = &state.Start{Op: o.ID}
	switch o.Kind {
	case policies.KindCreate:
		s.Executor, why = l.primary(o)
	case policies.KindSeal:
		s.Executor, why = l.sealer(o)
	case policies.KindRepair, policies.KindMove:
		why = l.copyPath(o, s)
	case policies.KindPunch:
		s.Executor, why = l.rewriter(o)
	}
	return s, why
}

// begun counts o among those that run.
func (l *Look) begun(o *state.Op, s *state.Start) {
	l.done[o.ID] = true
	l.count(o, s.Source, s.Target)
	l.shares.count(o)
	if o.Kind == policies.KindDecommission { // from here on the node takes nothing
		l.takers = slices.DeleteFunc(l.takers, func(id state.NodeID) bool { return id == o.Node })
	}
}

// held says what keeps o back whatever its kind.
func (l *Look) held(o *state.Op) string { return cmp.Or(l.barred(o), l.limited(o)) }

// limited says which limits on what runs keep o back.
func (l *Look) limited(o *state.Op) string {
	return cmp.Or(l.limit(o.Kind), l.shares.full(o, int(l.v.Settings.MaxRunning)))
}

// barred says what keeps o back however few others run.
func (l *Look) barred(o *state.Op) string {
	for _, w := range o.Waits {
		if other := l.v.Op(w); other != nil && !other.State.Ended() {
			return fmt.Sprintf("waits for %s %s, which is %s", other.Kind, other.ID, other.State)
		}
	}
	if first := l.before(o); first != nil {
		return l.behind(o, first)
	}
	if h := l.quiet.on(l.v, o); h != nil {
		return h.String()
	}
	if o.NotBeforeMicros > l.now {
		return fmt.Sprintf("pauses before attempt %d: %s", o.Attempts+1, o.Detail)
	}
	return l.comesBack(o)
}

func (l *Look) limit(kind policies.Kind) string {
	limit := int(l.v.Settings.MaxRunning)
	switch kind {
	case policies.KindDecommission, policies.KindRecommission, policies.KindPunch:
		return ""
	case policies.KindDelete:
		if l.deletes >= maxDeletes {
			return fmt.Sprintf("%d deletes wait for nodes to confirm, the limit", l.deletes)
		}
		return ""
	}
	if n := len(l.running); n >= limit {
		return fmt.Sprintf("%d operations are running, the limit (max-running)", n)
	}
	return ""
}

func (l *Look) primary(o *state.Op) (state.NodeID, string) {
	e := l.v.Extent(o.Extent)
	if e == nil || e.State != state.ExtentCreating {
		return "", notIn(o.Extent, e, state.ExtentCreating)
	}
	n := l.v.Node(e.Primary())
	if n == nil || n.State != state.NodeUp {
		return "", fmt.Sprintf("its primary %s is not up", e.Primary())
	}
	return n.ID, ""
}

// sealer is the node that carries out a seal: one that is up and has a replica. A whole one comes before others, a node
// that is heard, and not about to be stopped, before one that is not, the leader before others, and then the first.
func (l *Look) sealer(o *state.Op) (state.NodeID, string) {
	e := l.v.Extent(o.Extent)
	if e == nil || e.State != state.ExtentOpen {
		return "", notIn(o.Extent, e, state.ExtentOpen)
	}
	var best state.NodeID
	most := 0
	for _, r := range e.Replicas {
		if n := l.v.Node(r.Node); n == nil || n.State != state.NodeUp {
			continue
		}
		fit := 1
		if r.State == state.ReplicaWhole {
			fit += 4
		}
		if (l.seen.Silent == nil || !l.seen.Silent(r.Node)) && !l.isPaused(r.Node) {
			fit += 2
		}
		if r.Node == l.seen.Self {
			fit++
		}
		if fit > most {
			best, most = r.Node, fit
		}
	}
	if best == "" {
		return "", "no node with a replica is up"
	}
	return best, ""
}

// rewriter is the node that rewrites its replica.
func (l *Look) rewriter(o *state.Op) (state.NodeID, string) {
	if n := l.v.Node(o.Node); n == nil || n.State != state.NodeUp {
		return "", fmt.Sprintf("%s, whose replica is to be rewritten, is not up", o.Node)
	}
	if other := l.rewrites[o.Node]; other != nil {
		return "", fmt.Sprintf("%s rewrites one replica at a time, now that of extent %d (%s)",
			o.Node, other.Extent, other.ID)
	}
	return o.Node, ""
}

// notIn says that an extent is not in the state that an operation is for.
func notIn(id state.ExtentID, e *state.Extent, need state.ExtentState) string {
	if e == nil {
		return fmt.Sprintf("extent %d is forgotten", id)
	}
	return fmt.Sprintf("extent %d is %s, not %s", id, e.State, need)
}

// needless says why a queued operation need not start any more, "" when it should.
func needless(v *state.View, o *state.Op, now state.Micros) string {
	e := v.Extent(o.Extent)
	switch {
	case e == nil:
	case Balances(o) && balanceYields(v) != "":
		return balanceYields(v) + "; it is planned again after them"
	case Balances(o) && o.Named && Unfit(v, e, o.Target) != "":
		return "no longer of use: " + Unfit(v, e, o.Target)
	case o.Kind == policies.KindCreate:
		if n := v.Node(e.Primary()); n == nil || n.State != state.NodeUp {
			return fmt.Sprintf("its primary %s is not up; whoever wants to write does so elsewhere", e.Primary())
		}
	case !e.Copyable(o.Kind):
	case o.Kind == policies.KindPunch:
		if r, _ := e.Replica(o.Node); r.State != state.ReplicaWhole {
			return fmt.Sprintf("no longer needed: %s has no whole replica of it", o.Node)
		}
		if n := v.Node(o.Node); n == nil || n.State != state.NodeUp {
			return fmt.Sprintf("%s is not up; it asks again when it is", o.Node)
		}
	case o.Kind == policies.KindMove:
		if _, holds := e.Replica(o.Node); !holds {
			return fmt.Sprintf("no longer needed: %s has no replica of it", o.Node)
		}
		return lostTarget(v, o, e, now)
	case o.Kind == policies.KindRepair && v.Live(e) >= int(e.Want):
		return "no longer needed: the extent has its replicas"
	}
	return ""
}
