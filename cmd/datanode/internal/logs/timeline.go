package logs

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// MostOnTimeline bounds the operations of a timeline: of more nobody would see anything.
const MostOnTimeline = 20_000

// Timeline is what a range of a log did, ready to be drawn.
type Timeline struct {
	log         string
	first, last uint64 // entries
	ops         []*timedOp
	marks       []mark
}

// timedOp is an operation, and where it stood when.
type timedOp struct {
	id      state.OpID
	kind    string
	extent  uint64
	node    string
	about   string // who asked for it, who decided, why
	waits   []state.OpID
	spans   []span
	outcome string // "" while it is open; else as op ls has it
	end     int64
	detail  string
}

// span is a time in which an operation was queued, or running.
type span struct {
	running  bool
	from, to int64 // to 0: it has not ended
	node     string
	text     string
}

// mark is something that is no operation.
type mark struct {
	kind   string // "leader", "policy", "node"
	micros int64
	node   string // that went down or came up
	down   bool
	text   string
}

// rank is 1 for what may come often.
func (m mark) rank() int {
	if m.kind == "node" {
		return 1
	}
	return 0
}

// ReadTimeline reads a range of a log: of the times of operations those from since to until, where these are set.
func ReadTimeline(ctx context.Context, s Source, r Range, since, until time.Time) (*Timeline, error) {
	name, _, _, err := Bounds(ctx, s)
	if err != nil {
		return nil, err
	}
	c := timing{out: &Timeline{log: name}, ops: make(map[state.OpID]*timedOp), open: make(map[state.OpID]*timedOp)}
	for one, err := range follow(ctx, s, r) {
		if err != nil {
			return nil, err
		}
		at := time.UnixMicro(one.micros())
		if !until.IsZero() && one.micros() > 0 && at.After(until) {
			break
		}
		c.take(one, since.IsZero() || !at.Before(since))
		if len(c.ops) > MostOnTimeline {
			return nil, exit.With(exit.Failed, "there are more than %d operations in these entries, which nobody could see "+
				"in one picture; want fewer: --from, --to, --since, --until", MostOnTimeline)
		}
	}
	c.sweep()
	for _, id := range slices.Sorted(maps.Keys(c.ops)) {
		c.out.ops = append(c.out.ops, c.ops[id])
	}
	return c.out, nil
}

// Ops is how many operations there are.
func (t *Timeline) Ops() int { return len(t.ops) }

// timing is a Timeline in the making.
type timing struct {
	out   *Timeline
	ops   map[state.OpID]*timedOp
	open  map[state.OpID]*timedOp
	begun bool
	st    *state.State // after the last entry; nil where it is not known
	term  uint64
	swept int // entries since it was last looked what has ended
}

// sweepPart is after how many entries, by the number of open operations, it is looked which of them have ended.
const sweepPart = 64

// take goes on by one entry; counts is false before what is wanted.
func (c *timing) take(one *step, counts bool) {
	if one.st != nil && !c.begun && counts {
		c.already(one)
	}
	results := one.apply()
	c.st = one.st
	if !counts {
		c.term = one.term()
		return
	}
	if !c.begun {
		c.begun, c.out.first = true, one.Index()
	}
	c.out.last = one.Index()
	if before := c.term; one.term() > before {
		if c.term = one.term(); before != 0 {
			c.mark("leader", one, fmt.Sprintf("term %d: another leader, or the same again", c.term))
		}
	}
	for i, cmd := range one.commands {
		t := taken{step: one, id: state.NewOpID(state.Index(one.Index()), i)}
		if i < len(results) {
			t.result, t.known = results[i], true
		}
		if cmd != nil {
			c.command(t, cmd)
		}
	}
	if c.swept++; c.swept > len(c.open)/sweepPart {
		c.sweep()
	}
}

// already notes the operations that were open before the first entry.
func (c *timing) already(one *step) {
	one.st.Ops(0, func(o *state.Op) bool {
		if o.State.Ended() || len(o.Steps) == 0 {
			return true
		}
		d := &o.Decision
		op := &timedOp{id: o.ID, kind: o.Kind.String(), extent: uint64(o.Extent), node: string(o.Node), waits: o.Waits,
			about: aboutText(string(o.AskedBy), d)}
		for _, s := range o.Steps {
			op.close(int64(s.Micros))
			running := s.State == state.OpRunning
			text, node := s.Note, ""
			if running {
				node = string(o.Executor)
			}
			op.spans = append(op.spans, span{running: running, from: int64(s.Micros), text: text, node: node})
		}
		c.ops[o.ID], c.open[o.ID] = op, op
		return true
	})
}

func aboutText(askedBy string, d *state.Decision) string {
	return fmt.Sprintf("asked for by %s; policy %s, priority %d: %s",
		orElse(askedBy, "the cell, or somebody without a name"), ShortDigest(d.Policy), d.Priority, d.Reason)
}

func (c *timing) mark(kind string, one *step, text string) {
	c.out.marks = append(c.out.marks, mark{kind: kind, micros: one.micros(),
		text: fmt.Sprintf("%s (entry %d, %s)", text, one.Index(), stampText(one.micros()))})
}

func (c *timing) command(t taken, cmd state.Command) {
	if t.failed() && t.result.Op == 0 {
		return
	}
	switch cmd := cmd.(type) {
	case *state.Admit:
		c.admit(t, cmd)
	case *state.Start:
		c.start(t, cmd)
	case *state.Finish:
		c.finish(t, cmd)
	case *state.Cancel:
		c.end(cmd.Op, t.micros(), state.OpCancelled.String(), cmd.Note)
	case *state.LoadPolicy, *state.ActivatePolicy, *state.RollbackPolicy:
		c.mark("policy", t.step, cmd.CommandType().String()+" "+describe.Command(t.id, cmd)+by(cmd))
	case *state.SetNodeState:
		c.mark("node", t.step, fmt.Sprintf("%s is %s", cmd.Node, cmd.State))
		last := &c.out.marks[len(c.out.marks)-1]
		last.node, last.down = string(cmd.Node), cmd.State == state.NodeDown
	}
}

func by(cmd state.Command) string {
	if who := state.AskedBy(cmd); who != "" {
		return " by " + string(who)
	}
	return ""
}

func (c *timing) admit(t taken, cmd *state.Admit) {
	op := &timedOp{id: t.id, kind: cmd.Kind.String(), extent: uint64(cmd.Extent), node: string(cmd.Node),
		about: aboutText(string(cmd.AskedBy), &cmd.Decision), spans: []span{{from: t.micros()}}}
	if t.known && t.result.Extent != 0 {
		op.extent = uint64(t.result.Extent)
	}
	for _, k := range cmd.Decision.Conflicts {
		switch {
		case k.Final == policies.Wait:
			op.waits = append(op.waits, k.With)
		case k.Final == policies.Supersede && !t.failed():
			c.end(k.With, t.micros(), state.OpSuperseded.String(), "by operation "+t.id.String())
		case !t.known && (k.Final == policies.Reject || k.Final == policies.Merge):
			op.outcome, op.detail = map[policies.Verdict]string{policies.Reject: "rejected", policies.Merge: "merged"}[k.Final],
				"with operation "+k.With.String()
		}
	}
	switch {
	case t.failed() && t.result.Op != t.id || t.known && !t.result.Merged && t.result.Op != t.id:
		return // refused, or answered before
	case t.failed():
		op.outcome, op.detail = state.OpRejected.String(), t.result.Err.Detail
	case t.result.Merged:
		op.outcome, op.detail = "merged", "into operation "+t.result.Op.String()
	}
	c.ops[t.id] = op
	if op.outcome != "" {
		op.end = t.micros()
		op.close(op.end)
		return
	}
	c.open[t.id] = op
	if s := atOnce(t, cmd); s != nil {
		c.start(t, s)
	}
}

func (c *timing) start(t taken, cmd *state.Start) {
	op := c.open[cmd.Op]
	if op == nil || t.failed() {
		return
	}
	op.close(t.micros())
	one := span{running: true, from: t.micros(), node: orElse(string(cmd.Executor), orElse(string(cmd.Target), op.node)),
		text: fmt.Sprintf("fence %d", t.Index())}
	if cmd.Source != "" {
		one.text += fmt.Sprintf(", from %s to %s", cmd.Source, cmd.Target)
	}
	op.spans = append(op.spans, one)
	if op.kind == policies.KindRecommission.String() && !t.known {
		c.end(cmd.Op, t.micros(), state.OpDone.String(), "")
	}
}

func (c *timing) finish(t taken, cmd *state.Finish) {
	op := c.open[cmd.Op]
	if op == nil || t.failed() {
		return
	}
	if n := len(op.spans); n > 0 && cmd.Detail != "" {
		op.spans[n-1].text += ": " + cmd.Detail
	}
	switch cmd.Outcome {
	case state.OutcomeDone:
		c.end(cmd.Op, t.micros(), state.OpDone.String(), "")
	case state.OutcomeFail:
		c.end(cmd.Op, t.micros(), state.OpFailed.String(), cmd.Detail)
	default:
		op.close(t.micros())
		op.spans = append(op.spans, span{from: t.micros(), text: "again"})
	}
}

// end notes how an operation ended, unless the state says otherwise: a Finish may be an attempt's only.
func (c *timing) end(id state.OpID, at int64, outcome, detail string) {
	op := c.open[id]
	if op == nil {
		return
	}
	if c.st != nil {
		if o := c.st.Op(id); o != nil {
			if !o.State.Ended() {
				return
			}
			outcome, detail, at = o.State.String(), orElse(o.Detail, detail), int64(o.EndedMicros)
		}
	}
	op.outcome, op.end, op.detail = outcome, at, detail
	op.close(at)
	delete(c.open, id)
}

// sweep ends what the state has ended without a command that names it: a delete when the last file is gone.
func (c *timing) sweep() {
	c.swept = 0
	if c.st == nil {
		return
	}
	for id := range c.open {
		if o := c.st.Op(id); o != nil && o.State.Ended() {
			c.end(id, int64(o.EndedMicros), o.State.String(), o.Detail)
		}
	}
}

// close ends the span that is open.
func (o *timedOp) close(at int64) {
	if n := len(o.spans); n > 0 && o.spans[n-1].to == 0 {
		o.spans[n-1].to = max(at, o.spans[n-1].from)
	}
}

// from is when the operation was asked for.
func (o *timedOp) from() int64 { return o.spans[0].from }

// title is all that is known of an operation, for whoever points at it.
func (o *timedOp) title() string {
	lines := []string{o.kind + " " + o.id.String()}
	if o.extent != 0 {
		lines[0] += fmt.Sprintf(" of extent %d", o.extent)
	}
	if o.node != "" {
		lines[0] += " of node " + o.node
	}
	lines = append(lines, o.about)
	for _, s := range o.spans {
		line := "queued"
		if s.running {
			line = "running"
		}
		line += " " + stampText(s.from)
		if s.to > s.from {
			line += " for " + lengthText(s.to-s.from)
		}
		if s.node != "" {
			line += " on " + s.node
		}
		lines = append(lines, strings.TrimSuffix(line+", "+s.text, ", "))
	}
	if len(o.waits) > 0 {
		var all []string
		for _, w := range o.waits {
			all = append(all, w.String())
		}
		lines = append(lines, "it waited for "+strings.Join(all, ", "))
	}
	if o.outcome == "" {
		return strings.Join(append(lines, "it has not ended"), "\n")
	}
	end := o.outcome + " " + stampText(o.end)
	if o.detail != "" {
		end += ": " + o.detail
	}
	return strings.Join(append(lines, end), "\n")
}
