package lead

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/datanode/datanode/node/fair"
	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

const (
	// maxWaiting bounds the submissions that wait to be decided, and maxWaitingEach those of one sharer; more are refused.
	maxWaiting     = 16384
	maxWaitingEach = 4096
	decideAtOnce   = 256
	decideAttempts = 8 // of one submission, while the state changes under it
)

// admission decides about submissions on the leader: is it possible, what are the facts, what does
// the policy say. Submissions that wait while a batch is proposed are decided together in the next.
// What changes between the decision and its entry is found by state.Apply, which refuses the entry
// as stale; then the submission is decided again.
type admission struct {
	env
	decider *decider
	misused *misuse
	moment  func() schedule.Moment

	news chan struct{} // holds one token while there may be something in queue

	mu         sync.Mutex
	queue      fair.Queue[*Submission] // Guarded by mu.
	turnedAway uint64                  // Guarded by mu.
}

type admitted struct {
	res wire.Submitted
	err error // of the proposal: nothing is known of the result
}

func newAdmission(e env, d *decider, m *misuse, moment func() schedule.Moment) *admission {
	return &admission{
		env: e, decider: d, misused: m, moment: moment, news: make(chan struct{}, 1),
		queue: fair.Queue[*Submission]{Most: maxWaiting, MostEach: maxWaitingEach},
	}
}

// submit waits for the results of submissions that are decided here, on the leader.
func (a *admission) submit(ctx context.Context, subs []*Submission) ([]wire.Submitted, error) {
	leave := a.enter(subs)
	results := make([]wire.Submitted, len(subs))
	for i, s := range subs {
		select {
		case got := <-s.done:
			if got.err != nil {
				leave()
				return nil, partly(got.err, len(subs))
			}
			results[i] = got.res
		case <-ctx.Done():
			late := &wire.Error{Op: wire.OpSubmit, Code: wire.CodeDeadline, Outcome: wire.Unknown, Detail: "not decided in time"}
			if leave() && i == 0 {
				late.Outcome = wire.NotDone
			}
			return nil, late
		}
	}
	return results, nil
}

// partly is err as that of all submissions: of the others nothing is known.
func partly(err error, submissions int) error {
	var w *wire.Error
	if submissions == 1 || !errors.As(err, &w) {
		return err
	}
	out := *w
	out.Outcome = wire.Unknown
	return &out
}

// run decides batch after batch.
func (a *admission) run(ctx context.Context) {
	for {
		batch := a.batch()
		if len(batch) == 0 {
			select {
			case <-a.news:
				continue
			case <-ctx.Done():
				return
			}
		}
		for range decideAttempts {
			if batch = a.round(ctx, batch); len(batch) == 0 {
				break
			}
		}
		for _, s := range batch {
			s.done <- admitted{err: wire.Errorf(wire.OpSubmit, wire.CodeConflict, "decided %d times, and each time something "+
				"had changed meanwhile, at last: %s; try again", decideAttempts, s.stale)}
		}
	}
}

// round decides and proposes once, and returns what must be decided again.
func (a *admission) round(ctx context.Context, batch []*Submission) (again []*Submission) {
	if !a.log.IsLeader() {
		a.failAll(batch, wire.Errorf(wire.OpSubmit, wire.CodeUnavailable, "%s is not the leader", a.id))
		return nil
	}
	if err := a.confirm(ctx); err != nil {
		a.failAll(batch, err)
		return nil
	}
	view := a.log.View()
	drafts := a.decider.draft(view, a.answerRepeated(view, batch))
	a.decider.decide(ctx, view, drafts)
	var cmds []state.Command
	var admits []*state.Admit
	var asked []*Submission
	for _, d := range drafts {
		if d.refusal != nil {
			d.sub.done <- admitted{res: refusal(d.sub, d.refusal)}
			continue
		}
		cmds, admits, asked = append(cmds, d.admit), append(admits, d.admit), append(asked, d.sub)
	}
	if len(cmds) == 0 {
		return nil
	}
	schedule.AtOnce(view, a.moment(), admits)
	results, index, err := a.log.Propose(ctx, cmds...)
	if err != nil {
		a.failAll(asked, err)
		return nil
	}
	a.audit.Admits(index, cmds, results)
	for i, res := range results {
		if res.Stale {
			asked[i].stale = res.Err.Detail
			again = append(again, asked[i])
			continue
		}
		a.misused.count(res)
		asked[i].done <- admitted{res: submitted(res)}
	}
	return again
}

// answerRepeated answers the requests that were carried out before, and returns the others. What a repeated request
// asks for may look impossible by now, as a delete does once the extent is forgotten.
func (a *admission) answerRepeated(view *state.View, batch []*Submission) []*Submission {
	all := view.AllReach(state.LevelNamed)
	return slices.DeleteFunc(batch, func(s *Submission) bool {
		s.named = all
		kind, _ := policies.ParseKind(s.Kind)
		res, ok := view.Answered(&state.Admit{
			Request: state.Request{Session: s.Session, Seq: s.Seq, Sum: s.sum()}, Kind: kind,
			Extent: state.ExtentID(s.Extent), AskedBy: s.who(),
		})
		if ok {
			a.misused.count(res)
			s.done <- admitted{res: submitted(res)}
		}
		return ok
	})
}

func (a *admission) failAll(batch []*Submission, err error) {
	for _, s := range batch {
		s.done <- admitted{err: err}
	}
}

func submitted(res state.Result) wire.Submitted {
	out := wire.Submitted{Extent: uint64(res.Extent), Merged: res.Merged}
	if res.Op != 0 {
		out.Op = res.Op.String()
	}
	if res.Kind != 0 {
		out.Kind = res.Kind.String()
	}
	if res.Err != nil {
		out.Code, out.Detail = res.Err.Code, res.Err.Detail
	}
	return out
}

func refusal(s *Submission, err *wire.Error) wire.Submitted {
	return wire.Submitted{Kind: s.Kind, Code: err.Code, Detail: err.Detail}
}
