package plugins

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/datanode/datanode/policies"
)

// selfTest tries the module out before anyone relies on it, and takes its measures. One instance is
// asked in batches, in two orders; a fresh one is asked record by record; and the interpreter
// does what the first one did. All must say the same to the byte, and the two engines must count the
// same work: then an answer depends on the record alone, and a cost on nothing but the calls.
func (m *Module) selfTest(ctx context.Context, p *prepared, report *Report) error {
	first, err := m.rehearse(ctx, m.engine)
	if err != nil {
		return err
	}
	report.Counters = m.Counters()
	defer m.forget() // the trial is no use of it
	if err := m.testAlone(ctx, first, report); err != nil {
		return err
	}
	interpreted, err := m.host.interpret(ctx, p.metered)
	if err != nil {
		return err
	}
	second, err := m.rehearse(ctx, interpreted)
	if err == nil {
		err = first.differs(second)
	}
	if m.drain() { // else it still runs, and its memory must stay
		_ = interpreted.close(ctx) // a runtime in memory; nothing depends on its end
	}
	first.report(report, m.info)
	return m.refused(ctx, EnginesDiffer, err)
}

// refused is err as the reason why the module is not accepted, unless the caller gave up or err is nil.
func (m *Module) refused(ctx context.Context, part LoadReason, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("plugins: compile: %w", ctx.Err())
	}
	if already := (*LoadError)(nil); errors.As(err, &already) {
		return err
	}
	if call := (*CallError)(nil); errors.As(err, &call) {
		return refuse(call.Cause.loadReason(part), "%s: %s: %s", call.Call, call.Cause, call.Detail)
	}
	return refuse(part, "%v", err)
}

// asked is what came of one question.
type asked[Out any] struct {
	out   []Out
	cost  uint64
	nanos int64
}

// transcript is all that an instance said to a fixed series of calls.
type transcript struct {
	description         []byte
	started, dearest    uint64
	scores, scoresAgain asked[policies.Score] // in order, and shuffled
	verdicts, again     asked[policies.Resolution]
	memoryBytes         uint32
}

// rehearse starts an instance in an engine, has it describe itself and asks it about all samples,
// twice. The error says for what the module is refused.
func (m *Module) rehearse(ctx context.Context, e *engine) (*transcript, error) {
	m.slots <- struct{}{} // nobody else has the module yet
	inst, err := m.start(ctx, e, m.host.opts.Budget)
	defer m.retire(inst)
	if err != nil {
		return nil, m.refused(ctx, NotStarted, err)
	}
	t := &transcript{}
	if t.description, err = inst.describe(ctx); err == nil {
		err = m.describedBy(t.description) // an answer is compared with it
	}
	if err != nil {
		return nil, m.refused(ctx, DescribeInvalid, err)
	}
	t.started, t.dearest = inst.started, inst.dearest
	facts, pairs := sampleFacts(), samplePairs()
	steps := []func() error{
		func() error { return put(ctx, &t.scores, facts, inst.askScores) },
		func() error { return put(ctx, &t.scoresAgain, reordered(facts), inst.askScores) },
		func() error { return put(ctx, &t.verdicts, pairs, inst.askResolutions) },
		func() error { return put(ctx, &t.again, reordered(pairs), inst.askResolutions) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, m.refused(ctx, SelfTestFailed, err)
		}
	}
	t.memoryBytes = inst.guest.Memory().Size()
	return t, nil
}

func reordered[In any](in []In) []In {
	out := make([]In, len(in))
	for i, from := range shuffled(len(in)) {
		out[i] = in[from]
	}
	return out
}

type question[In, Out any] func(ctx context.Context, in []In, out []Out) (uint64, error)

// put asks one question and notes what came of it.
func put[In, Out any](ctx context.Context, a *asked[Out], in []In, ask question[In, Out]) (err error) {
	a.out = make([]Out, len(in))
	began := time.Now()
	a.cost, err = ask(ctx, in, a.out)
	a.nanos = int64(time.Since(began))
	return err
}

// differs says in what the interpreter has done something else than the compiler's code.
func (t *transcript) differs(u *transcript) error {
	for _, c := range []struct {
		what       string
		have, want uint64
	}{
		{"starting", u.started, t.started}, {"scores", u.scores.cost, t.scores.cost},
		{"shuffled scores", u.scoresAgain.cost, t.scoresAgain.cost}, {"conflicts", u.verdicts.cost, t.verdicts.cost},
		{"shuffled conflicts", u.again.cost, t.again.cost},
	} {
		if c.have != c.want {
			return fmt.Errorf("%s cost %d units in the compiler's engine and %d in the interpreter", c.what, c.want, c.have)
		}
	}
	if !bytes.Equal(t.description, u.description) {
		return errors.New("it describes itself differently in compiler and interpreter")
	}
	if !slices.Equal(t.scores.out, u.scores.out) || !slices.Equal(t.scoresAgain.out, u.scoresAgain.out) ||
		!slices.Equal(t.verdicts.out, u.verdicts.out) || !slices.Equal(t.again.out, u.again.out) {
		return errors.New("it answers differently in compiler and interpreter: mind the bits of NaN")
	}
	return nil
}

// testAlone asks a fresh instance record by record, and compares the answers with those in batches.
func (m *Module) testAlone(ctx context.Context, t *transcript, report *Report) error {
	m.slots <- struct{}{} // nobody else has the module yet
	fresh, err := m.start(ctx, m.engine, m.host.opts.Budget)
	defer func() {
		if err != nil || !m.keep(fresh) {
			m.retire(fresh)
		}
	}()
	if err != nil {
		return m.refused(ctx, NotStarted, err)
	}
	scores, err := askAlone(ctx, sampleFacts(), fresh.askScores)
	if err == nil {
		err = agree(t.scores.out, t.scoresAgain.out, scores)
	}
	if err != nil {
		return m.refused(ctx, HiddenState, err)
	}
	verdicts, err := askAlone(ctx, samplePairs(), fresh.askResolutions)
	if err == nil {
		err = agree(t.verdicts.out, t.again.out, verdicts)
	}
	if err != nil {
		return m.refused(ctx, HiddenState, err)
	}
	report.Scores.alone(costs(scores))
	report.Conflicts.alone(costs(verdicts))
	return nil
}

// askAlone asks about one record after the other.
func askAlone[In, Out any](ctx context.Context, in []In, ask question[In, Out]) ([]asked[Out], error) {
	answers := make([]asked[Out], len(in))
	for i := range in {
		if err := put(ctx, &answers[i], in[i:i+1], ask); err != nil {
			return nil, err
		}
	}
	return answers, nil
}

func costs[Out any](answers []asked[Out]) (units []uint64, nanos []int64) {
	for _, a := range answers {
		units, nanos = append(units, a.cost), append(nanos, a.nanos)
	}
	return units, nanos
}

// agree reports whether the answers of a batch, of the shuffled batch and of the records alone are the same.
func agree[Out comparable](batch, again []Out, alone []asked[Out]) error {
	for i, from := range shuffled(len(batch)) {
		if again[i] != batch[from] || alone[from].out[0] != batch[from] {
			return fmt.Errorf("sample %d is answered %+v in a batch, %+v in another order, %+v alone in a fresh instance: "+
				"answer from the record and the configuration alone", from, batch[from], again[i], alone[from].out[0])
		}
	}
	return nil
}
