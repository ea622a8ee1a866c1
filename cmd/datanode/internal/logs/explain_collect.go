package logs

import (
	"slices"
	"strings"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// collector picks what a question is about out of the entries of a log, one after the other.
type collector struct {
	q        Question
	accounts map[state.OpID]*Account
	open     []*Account // those that have not ended, by rising ID
	events   []Event
	names    map[string]string // of policies, by digest
	loads    map[string]*state.LoadPolicy
	last     *state.State // after the last entry; nil where it is not known
	whole    bool         // it was known all the way
	index    uint64       // of the last entry
	micros   int64
	looks    int // how often it was looked what the open ones wait for

	copiedFrom, copiedTo, carriedOut int // attempts that a node took part in
}

func newCollector(q Question) *collector {
	return &collector{q: q, accounts: make(map[state.OpID]*Account), names: map[string]string{"native": "native default"},
		loads: make(map[string]*state.LoadPolicy), whole: true}
}

// over reports whether nothing more can happen to the operation that is asked about.
func (c *collector) over() bool {
	a := c.accounts[c.q.Op]
	return c.q.Op != 0 && a != nil && a.Ended != 0
}

// take goes on by one entry.
func (c *collector) take(s *step) {
	c.index, c.micros = s.Index(), max(c.micros, s.micros())
	pairs := c.pairsOf(s)
	results := s.apply()
	c.last, c.whole = s.st, c.whole && s.st != nil
	for place, cmd := range s.commands {
		if cmd == nil {
			continue
		}
		one := taken{step: s, id: state.NewOpID(state.Index(s.Index()), place)}
		if results != nil {
			one.result, one.known = results[place], true
		}
		c.command(one, cmd, pairs[one.id])
	}
	c.look()
}

// taken is a command on its way through the log.
type taken struct {
	*step
	id     state.OpID
	result state.Result
	known  bool // the result is
}

// failed reports whether the command is known to have changed nothing.
func (t taken) failed() bool { return t.known && t.result.Err != nil }

func (c *collector) command(t taken, cmd state.Command, pairs []pair) {
	switch cmd := cmd.(type) {
	case *state.Admit:
		c.admit(t, cmd, pairs)
	case *state.Start:
		c.start(t, cmd)
	case *state.Finish:
		c.finish(t, cmd)
	case *state.Cancel:
		if a := c.accounts[cmd.Op]; a != nil && !t.failed() {
			a.ByWhom = string(cmd.AskedBy)
			c.endUnknown(a, t, state.OpCancelled.String(), cmd.Note)
		}
	case *state.Rescore:
		c.rescore(t, cmd)
	case *state.LoadPolicy:
		if !t.failed() {
			c.names[cmd.Digest], c.loads[cmd.Digest] = cmd.Name+" "+cmd.Version, cmd
		}
	}
	c.event(t, cmd)
}

// wants reports whether an admit is one that the question is about.
func (c *collector) wants(t taken, a *state.Admit) bool {
	switch {
	case c.q.Op != 0:
		return t.id == c.q.Op
	case c.q.Extent != 0:
		made := t.known && t.result.Err == nil && uint64(t.result.Extent) == c.q.Extent
		return uint64(a.Extent) == c.q.Extent || made
	}
	return a.Extent == 0 && a.Kind != policies.KindCreate && string(a.Node) == c.q.Node
}

func (c *collector) admit(t taken, cmd *state.Admit, pairs []pair) {
	if parent := c.accounts[cmd.Parent]; parent != nil && !t.failed() {
		parent.Moves = append(parent.Moves, t.id.String())
	}
	if !t.failed() {
		c.meetings(t, cmd)
	}
	if !c.wants(t, cmd) {
		return
	}
	a := &Account{
		id: t.id, admit: cmd, pairs: pairs, Op: t.id.String(), Kind: cmd.Kind.String(), Extent: uint64(cmd.Extent),
		Node: string(cmd.Node), Target: string(cmd.Target), Index: t.Index(), Asked: t.micros(), AskedBy: string(cmd.AskedBy),
		Origin: describe.Origin(cmd.Origin), Urgent: cmd.Urgent, Forced: cmd.Forced, State: state.OpQueued.String(),
		Decision: c.decision(&cmd.Decision),
	}
	for _, n := range cmd.Replicas {
		a.Nodes = append(a.Nodes, string(n))
	}
	if cmd.Parent != 0 {
		a.Parent = cmd.Parent.String()
	}
	a.known = t.known
	if t.known && t.result.Extent != 0 {
		a.Extent = uint64(t.result.Extent)
	}
	c.accounts[t.id] = a
	c.settle(a, t)
	if a.Ended == 0 {
		c.open = append(c.open, a)
		c.startsAtOnce(a, t)
	}
}

// startsAtOnce starts what the entry that admits it starts; where it is not known what that came to, it is assumed.
func (c *collector) startsAtOnce(a *Account, t taken) {
	if s := atOnce(t, a.admit); s != nil {
		c.start(t, s)
		a.presumed = !t.known
	}
}

// atOnce is the start of an operation that the entry which admits it starts too; nil where it does not.
func atOnce(t taken, cmd *state.Admit) *state.Start {
	if !cmd.Start || t.known && !t.result.Started {
		return nil
	}
	s := &state.Start{Op: t.id}
	if len(cmd.Replicas) > 0 {
		s.Executor = cmd.Replicas[0]
	}
	return s
}

// settle ends what an admit itself has ended: it was refused, or became part of another.
func (c *collector) settle(a *Account, t taken) {
	switch {
	case t.failed() && t.result.Op == t.id: // a verdict
		c.end(a, t, state.OpRejected.String(), t.result.Err.Detail)
	case t.failed():
		detail := t.result.Err.Detail
		if t.result.Stale {
			detail += "; it was decided again"
		}
		c.end(a, t, "refused", detail)
	case t.known && t.result.Merged:
		a.By = t.result.Op.String()
		c.end(a, t, "merged", "")
	case t.known && t.result.Op != t.id: // asked for again
		a.By = t.result.Op.String()
		c.end(a, t, "answered before", "")
	case t.known:
	default:
		for _, k := range a.admit.Decision.Conflicts {
			if k.Final == policies.Reject || k.Final == policies.Merge {
				a.By = k.With.String()
				c.end(a, t, map[policies.Verdict]string{policies.Reject: "rejected", policies.Merge: "merged"}[k.Final], k.Reason)
				return
			}
		}
	}
}

// meetings notes in what it meets what an operation that arrives does to it.
func (c *collector) meetings(t taken, cmd *state.Admit) {
	for _, k := range cmd.Decision.Conflicts {
		a := c.accounts[k.With]
		if a == nil {
			continue
		}
		a.Met = append(a.Met, Meeting{With: t.id.String(), Kind: cmd.Kind.String(), AskedBy: string(cmd.AskedBy),
			Verdict: k.Final.String(), Reason: k.Reason})
		if k.Final == policies.Supersede {
			a.By = t.id.String()
			c.endUnknown(a, t, state.OpSuperseded.String(), "")
		}
	}
}

func (c *collector) start(t taken, cmd *state.Start) {
	if t.failed() {
		return
	}
	switch c.q.Node {
	case "":
	case string(cmd.Source):
		c.copiedFrom++
	case string(cmd.Target):
		c.copiedTo++
	case string(cmd.Executor):
		c.carriedOut++
	}
	a := c.accounts[cmd.Op]
	if a == nil {
		return
	}
	at := Attempt{Fence: t.Index(), Started: t.micros(), Executor: string(cmd.Executor), Source: string(cmd.Source),
		Target: string(cmd.Target), Replaces: string(cmd.Replaces)}
	if cmd.Source != "" {
		at.Bytes = c.lengthOf(t, a)
	}
	if a.presumed && len(a.Attempts) == 1 { // it was not to be after all
		a.Attempts, a.presumed = nil, false
	}
	a.Attempts, a.State = append(a.Attempts, at), state.OpRunning.String()
	a.stopsWaiting(t.micros())
	if a.Kind == policies.KindRecommission.String() {
		c.endUnknown(a, t, state.OpDone.String(), "")
	}
}

// lengthOf is how long the extent of an operation is.
func (c *collector) lengthOf(t taken, a *Account) uint64 {
	if t.st != nil {
		if e := t.st.Extent(state.ExtentID(a.Extent)); e != nil {
			return e.Length
		}
	}
	if a.admit != nil {
		return a.admit.Decision.Facts.LengthBytes
	}
	return 0
}

func (c *collector) finish(t taken, cmd *state.Finish) {
	a := c.accounts[cmd.Op]
	if a == nil || t.failed() {
		return
	}
	for i := range a.Attempts {
		at := &a.Attempts[i]
		if at.Fence == uint64(cmd.Fence) {
			at.Ended, at.EndIndex, at.Outcome, at.Detail = t.micros(), t.Index(), describe.Outcome(cmd.Outcome), cmd.Detail
			if cmd.Length > 0 {
				at.Bytes = cmd.Length
			}
		}
	}
	switch cmd.Outcome {
	case state.OutcomeDone:
		c.endUnknown(a, t, state.OpDone.String(), "")
	case state.OutcomeFail:
		c.endUnknown(a, t, state.OpFailed.String(), cmd.Detail)
	default:
		a.State = state.OpQueued.String()
	}
}

// endUnknown ends what the state would have ended, were it known: see ended.
func (c *collector) endUnknown(a *Account, t taken, as, detail string) {
	if !t.known {
		c.end(a, t, as, detail)
	}
}

// end notes that an operation has ended.
func (c *collector) end(a *Account, t taken, as, detail string) {
	if a.Ended != 0 {
		return
	}
	a.State, a.Detail, a.Ended, a.EndIndex = as, detail, t.micros(), t.Index()
	a.stopsWaiting(a.Ended)
	c.open = slices.DeleteFunc(c.open, func(o *Account) bool { return o == a })
	if n := len(a.Attempts); n > 0 && a.Attempts[n-1].Ended == 0 {
		at := &a.Attempts[n-1]
		at.Ended, at.EndIndex, at.Outcome = t.micros(), t.Index(), as
	}
}

func (c *collector) rescore(t taken, cmd *state.Rescore) {
	a := c.accounts[cmd.Op]
	if a == nil || t.failed() {
		return
	}
	d := c.decision(&cmd.Decision)
	before := Rescored{Priority: a.Decision.Priority, Policy: a.Decision.Policy, Reason: a.Decision.Reason}
	if n := len(a.Rescored); n > 0 {
		before = a.Rescored[n-1]
	}
	now := Rescored{Index: t.Index(), Micros: t.micros(), Priority: d.Priority, Policy: d.Policy, Reason: d.Reason}
	if now.Priority != before.Priority || now.Policy != before.Policy || now.Reason != before.Reason {
		a.Rescored = append(a.Rescored, now)
	}
}

const (
	looksEach  = 4096  // so many entries are looked at one by one for what operations wait for
	looksMost  = 65536 // then every sixteenth, up to so many looks, and then every 256th
	looksPaces = 16
)

// look notes what the open operations wait for after an entry, and which the state has ended.
func (c *collector) look() {
	if c.last == nil || len(c.open) == 0 {
		return
	}
	c.ended()
	c.looks++
	if c.looks > looksEach && c.looks%looksPaces != 0 || c.looks > looksMost && c.looks%(looksPaces*looksPaces) != 0 {
		return
	}
	var look *schedule.Look
	for _, a := range c.open {
		o := c.last.Op(a.id)
		if o == nil || o.State != state.OpQueued {
			continue
		}
		if look == nil {
			look = schedule.LookAt(&c.last.View, schedule.Moment{Cell: c.last.NowMicros})
		}
		a.waits(int64(c.last.NowMicros), look.Blocked(o))
	}
}

// ended notes the ends that no command names: of what was superseded, of deletes when the last file is gone, and so on.
func (c *collector) ended() {
	for _, a := range slices.Clone(c.open) {
		o := c.last.Op(a.id)
		if o == nil || !o.State.Ended() {
			continue
		}
		if o.By != 0 {
			a.By = o.By.String()
		}
		a.State, a.Detail, a.Ended, a.EndIndex = o.State.String(), o.Detail, int64(o.EndedMicros), uint64(o.EndedIndex)
		a.stopsWaiting(a.Ended)
		if n := len(a.Attempts); n > 0 {
			at := &a.Attempts[n-1]
			if at.Ended == 0 {
				at.Ended, at.EndIndex, at.Outcome = a.Ended, a.EndIndex, a.State
			}
			if o.State == state.OpDone && at.Detail == "" && len(o.Steps) > 0 {
				at.Detail = strings.TrimPrefix(o.Steps[len(o.Steps)-1].Note, "done")
			}
		}
		c.open = slices.DeleteFunc(c.open, func(o *Account) bool { return o == a })
	}
}

// waits notes that a waits for why at a moment of the cell's time.
func (a *Account) waits(now int64, why string) {
	if n := len(a.Waited); n > 0 && !a.Waited[n-1].over {
		last := &a.Waited[n-1]
		last.Micros = max(now-last.From, 0)
		if last.Why == why {
			return
		}
		last.over = true
	}
	a.Waited = append(a.Waited, Wait{From: now, Why: why})
}

// stopsWaiting notes that a has started or ended.
func (a *Account) stopsWaiting(now int64) {
	if n := len(a.Waited); n > 0 && !a.Waited[n-1].over {
		a.Waited[n-1].Micros, a.Waited[n-1].over = max(now-a.Waited[n-1].From, 0), true
	}
}
