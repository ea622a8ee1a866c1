package logs

import (
	"context"
	"fmt"
	"maps"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

// pair is a conflict's facts as they were: those of the operation that was there, made again from the state before the
// entry, and whether both are about one node.
type pair struct {
	existing policies.Facts
	sameNode bool
}

// pairsOf are the facts of the conflicts of an entry's admits, by operation; nothing where the state is not known.
func (c *collector) pairsOf(s *step) map[state.OpID][]pair {
	if s.st == nil {
		return nil
	}
	out := make(map[state.OpID][]pair)
	for place, cmd := range s.commands {
		a, ok := cmd.(*state.Admit)
		if !ok || len(a.Decision.Conflicts) == 0 {
			continue
		}
		id := state.NewOpID(state.Index(s.Index()), place)
		if !c.wants(taken{step: s, id: id}, a) {
			continue
		}
		view := schedule.AtTime(&s.st.View, state.Micros(a.Decision.Facts.NowMicros))
		var all []pair
		for _, k := range a.Decision.Conflicts {
			o := view.Op(k.With)
			if o == nil { // it was decided in a state that was no more
				all = nil
				break
			}
			phase := policies.PhaseQueued
			if o.State == state.OpRunning {
				phase = policies.PhaseRunning
			}
			f := view.Facts(o, phase)
			f.NowMicros = a.Decision.Facts.NowMicros
			f.QueuedOps, f.RunningOps = a.Decision.Facts.QueuedOps, a.Decision.Facts.RunningOps
			all = append(all, pair{existing: f, sameNode: o.Node == a.Node})
		}
		out[id] = all
	}
	return out
}

// Rerun is a decision that was made again from its own record.
type Rerun struct {
	Policy      string   `json:"policy"` // name and version
	Digest      string   `json:"digest"`
	Agrees      bool     `json:"agrees"`
	Priority    int32    `json:"priority"`
	Reason      string   `json:"reason"`
	Conflicts   []string `json:"conflicts"`   // the verdicts now, such as "supersede 4711"
	Differences []string `json:"differences"` // from what was decided
	NotAsked    string   `json:"not_asked,omitempty"`
}

// again asks a policy once more about the operation, from what is recorded. The error is that the
// policy fails.
func (a *Account) again(ctx context.Context, p policies.Policy) (*Rerun, error) {
	info := p.Info()
	out := &Rerun{Policy: info.Name + " " + info.Version, Digest: info.Digest}
	d := &a.admit.Decision
	var scores [1]policies.Score
	if _, err := p.Score(ctx, []policies.Facts{d.Facts}, scores[:]); err != nil {
		return nil, fmt.Errorf("the policy %s failed: %w", out.Policy, err)
	}
	out.Priority, out.Reason = scores[0].Priority, info.Reason(scores[0].Reason)
	out.compare("priority", fmt.Sprint(d.Priority), fmt.Sprint(out.Priority))
	out.compare("reason", d.Reason, out.Reason)
	switch {
	case len(d.Conflicts) == 0:
	case len(a.pairs) != len(d.Conflicts):
		out.NotAsked = "the verdicts were not asked for again: what the other operations were like is not told by this log"
	default:
		if err := out.conflicts(ctx, p, a); err != nil {
			return nil, err
		}
	}
	out.Agrees = len(out.Differences) == 0
	return out, nil
}

func (r *Rerun) compare(what, then, now string) {
	if then != now {
		r.Differences = append(r.Differences, fmt.Sprintf("%s: %s then, %s now", what, then, now))
	}
}

func (r *Rerun) conflicts(ctx context.Context, p policies.Policy, a *Account) error {
	d := &a.admit.Decision
	pairs := make([]policies.Pair, len(a.pairs))
	for i, one := range a.pairs {
		pairs[i] = policies.Pair{Existing: one.existing, Incoming: d.Facts, SameNode: one.sameNode}
	}
	answers := make([]policies.Resolution, len(pairs))
	if _, err := p.Conflict(ctx, pairs, answers); err != nil {
		return fmt.Errorf("the policy %s failed: %w", r.Policy, err)
	}
	for i, k := range d.Conflicts {
		final, _ := policies.Judge(k.WithKind, a.admit.Kind, pairs[i].SameNode, answers[i].Verdict)
		r.Conflicts = append(r.Conflicts, fmt.Sprintf("%s %s", final, k.With))
		r.compare("verdict on "+k.With.String(), k.Asked.String(), answers[i].Verdict.String())
		r.compare("what comes of "+k.With.String(), k.Final.String(), final.String())
	}
	return nil
}

func (r *Rerun) say() []string {
	how := "the same"
	if !r.Agrees {
		how = "otherwise"
	}
	out := []string{fmt.Sprintf("Asked again with the same facts, policy %s (%s) decides %s: priority %d, %s.", r.Policy,
		ShortDigest(r.Digest), how, r.Priority, r.Reason)}
	for _, d := range r.Differences {
		out = append(out, upper(d)+".")
	}
	if r.NotAsked != "" {
		out = append(out, upper(r.NotAsked)+".")
	}
	return out
}

// Loaded is the module and configuration of the policy that decided; nil for the native default, or where the log does
// not say.
func (a *Account) Loaded() *state.LoadPolicy { return a.load }

// Rerun makes the decisions about all operations of an explanation again, by the policy that of gives. It reports
// whether all agree. The error is exit.NotFound where no decision is there.
func (x *Explanation) Rerun(
	ctx context.Context, of func(context.Context, *Account) (policies.Policy, error),
) (bool, error) {
	agrees, any := true, false
	for i := range x.Operations {
		a := &x.Operations[i]
		if a.admit == nil {
			continue
		}
		p, err := of(ctx, a)
		if err != nil {
			return false, err
		}
		r, err := a.again(ctx, p)
		if err != nil {
			return false, err
		}
		a.Rerun, agrees, any = r, agrees && r.Agrees, true
		for _, line := range r.say() {
			x.Sentences = append(x.Sentences, fmt.Sprintf("Operation %s: %s", a.Op, line))
		}
	}
	if !any {
		return false, exit.With(exit.NotFound, "the entries in which that was decided are not in this log any more")
	}
	return agrees, nil
}

// loadsOf are the policies that a state and the entries know, by digest.
func (c *collector) loadsOf() map[string]*state.LoadPolicy {
	out := maps.Clone(c.loads)
	if c.last != nil {
		c.last.Policies(func(p *state.LoadPolicy) bool { out[p.Digest] = p; return true })
	}
	return out
}
