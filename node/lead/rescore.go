package lead

import (
	"context"
	"time"

	"github.com/datanode/datanode/node/modules"
	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

const (
	// ageAfter is how old a queued operation's decision may become before the policy is asked again.
	ageAfter = state.Micros(60_000_000)
	// ageEvery is the least time between two batches that are asked for their age alone. With decideAtOnce
	// it bounds what a long queue costs the log, and is why each operation of one is asked about later
	// than after ageAfter: of 100 000, every seventh minute.
	ageEvery = time.Second
	// ageLook is how many operations are looked at to fill a batch.
	ageLook = 1 << 14
	// ageRest is how long to leave a policy alone that has failed to answer.
	ageRest = time.Minute
)

// rescore asks the active policy again about queued operations that were scored by another one, or
// whose extent has lost or won live replicas since. Verdicts are not taken back.
func (s *starter) rescore(ctx context.Context, view *state.View) {
	var ops []*state.Op
	view.Queued(func(o *state.Op) bool {
		if outdated(view, o) {
			ops = append(ops, o)
		}
		return len(ops) < decideAtOnce
	})
	if len(ops) == 0 {
		return
	}
	again := s.decider.askAgain(ctx, view, ops)
	cmds := make([]state.Command, len(ops))
	for i, o := range ops {
		cmds[i] = again.command(i, o)
	}
	s.proposeRescores(ctx, cmds)
}

func outdated(view *state.View, o *state.Op) bool {
	if o.Decision.Epoch != view.PolicyEpoch {
		return true
	}
	if !o.Copies() {
		return false
	}
	e := view.Extent(o.Extent)
	return e != nil && uint8(view.Live(e)) != o.Decision.Facts.LiveReplicas
}

// aging asks the policy again about queued operations whose decision has become old: priorities may
// depend on how long an operation has waited, and on the hour. It goes through the operations in the
// order of their IDs, again and again. Only what changes is written, so that a queue whose priorities stay
// writes nothing. It belongs to the goroutine of lead; a new leader begins with the oldest.
type aging struct {
	next  state.OpID    // where the next batch begins
	last  time.Time     // when a batch was asked
	pause time.Duration // how long to wait after last
}

// round asks about one batch, unless it is too early for one or another node leads.
func (a *aging) round(ctx context.Context, s *starter) {
	if !s.log.IsLeader() || s.confirm(ctx) != nil {
		*a = aging{}
		return
	}
	now := s.clock.Now()
	if waited := now.Sub(a.last); waited >= 0 && waited < a.pause { // a clock may be set back
		return
	}
	a.last, a.pause = now, ageEvery
	view := schedule.AtTime(s.log.View(), s.log.Now())
	ops := a.due(view)
	if len(ops) == 0 {
		return
	}
	again := s.decider.askAgain(ctx, view, ops)
	if again.Fallback != "" {
		a.pause = ageRest
	}
	if cmds := again.changed(ops); len(cmds) > 0 {
		s.proposeRescores(ctx, cmds)
	}
}

// due are the next operations whose decision is old. Those of another policy are left to rescore.
func (a *aging) due(view *state.View) (ops []*state.Op) {
	from, looked := a.next, 0
	a.next = 0
	view.Ops(from, func(o *state.Op) bool {
		if looked == ageLook || len(ops) == decideAtOnce {
			a.next = o.ID
			return false
		}
		looked++
		age := view.NowMicros - state.Micros(o.Decision.Facts.NowMicros)
		if o.State == state.OpQueued && o.Decision.Epoch == view.PolicyEpoch && age >= ageAfter {
			ops = append(ops, o)
		}
		return true
	})
	return ops
}

// secondAnswer is what a policy says about operations that it was asked about before.
type secondAnswer struct {
	*modules.Answer
	facts []policies.Facts
	epoch uint64
}

func (d *decider) askAgain(ctx context.Context, view *state.View, ops []*state.Op) secondAnswer {
	facts := make([]policies.Facts, len(ops))
	for i, o := range ops {
		facts[i] = view.Facts(o, policies.PhaseQueued)
	}
	return secondAnswer{d.modules.Ask(ctx, view, facts, nil), facts, view.PolicyEpoch}
}

func (s secondAnswer) command(i int, o *state.Op) *state.Rescore {
	return &state.Rescore{Op: o.ID, Decision: s.Decision(i, s.facts[i], s.epoch)}
}

// changed are the commands for the operations that are decided otherwise now. Where the native default
// stands in, what the policy itself has decided stays: the priorities of two policies do not compare.
func (s secondAnswer) changed(ops []*state.Op) (cmds []state.Command) {
	for i, o := range ops {
		c, before := s.command(i, o), o.Decision
		stoodIn, standsIn := before.Fallback != "", c.Decision.Fallback != ""
		same := c.Decision.Priority == before.Priority && c.Decision.Reason == before.Reason && stoodIn == standsIn
		if !same && (stoodIn || !standsIn) {
			cmds = append(cmds, c)
		}
	}
	return cmds
}

func (s *starter) proposeRescores(ctx context.Context, cmds []state.Command) {
	if _, _, err := s.log.Propose(ctx, cmds...); err != nil {
		s.logger.Info("priorities not renewed", "error", err)
	}
}
