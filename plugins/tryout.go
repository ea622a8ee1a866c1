package plugins

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/datanode/datanode/policies"
)

// Bounds of what a module may say of itself.
const (
	maxDescribeBytes = 64 << 10
	maxPolicyName    = 64
	maxReasons       = 1024
	maxReasonBytes   = 200
)

// description is the JSON that policy_describe answers. Fields that are not known are ignored, so
// that it can grow.
type description struct {
	Name    string          `json:"name"`
	Version string          `json:"version"`
	Reasons []string        `json:"reasons"`
	Config  json.RawMessage `json:"config"`
}

// tryOut starts the module twice, reads its description, and holds the two instances against each
// other: one that has answered before and one that has not must say the same, whatever the order of
// the batch and however it is cut.
func (m *Module) tryOut(ctx context.Context) error {
	used, err := m.start(ctx)
	if err != nil {
		return m.refused(ctx, NotStarted, err)
	}
	defer used.close(ctx)
	if err := m.describe(ctx, used); err != nil {
		return m.refused(ctx, DescribeInvalid, err)
	}
	fresh, err := m.start(ctx)
	if err != nil {
		return m.refused(ctx, NotStarted, err)
	}
	defer fresh.close(ctx)
	if err := compareScores(ctx, used, fresh); err != nil {
		return m.refused(ctx, SelfTestFailed, err)
	}
	if err := compareResolutions(ctx, used, fresh); err != nil {
		return m.refused(ctx, SelfTestFailed, err)
	}
	return nil
}

// refused is err as the reason why the module is not accepted, unless the caller gave up.
func (m *Module) refused(ctx context.Context, reason LoadReason, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("plugins: compile: %w", ctx.Err())
	}
	detail := err.Error()
	if call := (*CallError)(nil); errors.As(err, &call) {
		detail = fmt.Sprintf("%s: %s: %s", call.Call, call.Cause, call.Detail)
	}
	return &LoadError{reason, detail}
}

func (m *Module) describe(ctx context.Context, inst *instance) error {
	result, err := inst.call(ctx, m.host.opts.Timeout, exportDescribe)
	if err != nil {
		return err
	}
	at, n := uint32(result>>32), uint32(result)
	if n > maxDescribeBytes {
		return fmt.Errorf("%d bytes of JSON, the most is %d", n, maxDescribeBytes)
	}
	text, ok := inst.guest.Memory().Read(at, n)
	if !ok {
		return fmt.Errorf("%d bytes of JSON at %#x are outside memory: answer pointer<<32 | length", n, at)
	}
	d := description{}
	if err := json.Unmarshal(text, &d); err != nil {
		return fmt.Errorf("not the JSON it should be: %w", err)
	}
	if err := d.valid(); err != nil {
		return err
	}
	m.info.Name, m.info.Version, m.info.Reasons = d.Name, d.Version, d.Reasons
	m.schema = d.Config
	return nil
}

func (d *description) valid() error {
	switch {
	case !isWord(d.Name):
		return fmt.Errorf("name %+.80q, want 1 to %d characters out of a-z, 0-9, dot and hyphen", d.Name, maxPolicyName)
	case !isWord(d.Version):
		return fmt.Errorf("version %+.80q, want 1 to %d characters out of a-z, 0-9, dot and hyphen", d.Version, maxPolicyName)
	case len(d.Reasons) == 0 || d.Reasons[0] != "unspecified":
		return errors.New(`reasons must begin with "unspecified"`)
	case len(d.Reasons) > maxReasons:
		return fmt.Errorf("%d reasons, the most is %d", len(d.Reasons), maxReasons)
	}
	for n, text := range d.Reasons {
		if text == "" || len(text) > maxReasonBytes || strings.ContainsFunc(text, unicode.IsControl) {
			return fmt.Errorf("reason %d is %+.80q, want one line of 1 to %d bytes", n, text, maxReasonBytes)
		}
	}
	return nil
}

func isWord(s string) bool {
	return s != "" && len(s) <= maxPolicyName && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-.") == ""
}

// sampleFacts are what every policy is tried on: each kind, in each phase, from each origin, with
// the numbers at their edges in between. The same for every module and on every node.
func sampleFacts() []policies.Facts {
	facts := make([]policies.Facts, 0, 72)
	for kind := policies.KindCreate; kind <= policies.KindRecommission; kind++ {
		for phase := policies.PhaseIncoming; phase <= policies.PhaseRunning; phase++ {
			for origin := policies.OriginUser; origin <= policies.OriginDecommission; origin++ {
				n := len(facts)
				f := policies.Facts{
					OpIndex: uint64(n) << (n % 60), OpPlace: uint32(n % 5), Kind: kind, Phase: phase, Origin: origin,
					Attempts: uint8(n * 7), Extent: uint64(n) * 0x9e3779b97f4a7c15, ExtentOpen: n%3 == 0,
					LengthBytes: uint64(1) << (n % 64), LiveReplicas: uint8(n % 5), WantReplicas: uint8(1 + n%4),
					NowMicros: 1_700_000_000_000_000, WaitingMicros: int64(n*n*n) * 77_777,
					QueuedOps: uint32(n * 1000), RunningOps: uint32(n), RunningSame: uint32(n / 2),
				}
				copy(f.Class[:], []string{"", "gold", "archive", "sixteen-bytes-ab"}[n%4])
				facts = append(facts, f)
			}
		}
	}
	return facts
}

// samplePairs are all pairs of kinds, with facts from sampleFacts.
func samplePairs() []policies.Pair {
	facts := sampleFacts()
	const kinds, each = 8, 9
	pairs := make([]policies.Pair, 0, kinds*kinds)
	for a := range kinds {
		for b := range kinds {
			pairs = append(pairs, policies.Pair{
				Existing: facts[a*each+(b+3)%each], Incoming: facts[b*each+a%each], SameNode: (a+b)%2 == 0,
			})
		}
	}
	return pairs
}

func compareScores(ctx context.Context, used, fresh *instance) error {
	facts := sampleFacts()
	return compare(facts, func(inst int, in []policies.Facts, out []policies.Score) error {
		return []*instance{used, fresh}[inst].askScores(ctx, in, out)
	})
}

func compareResolutions(ctx context.Context, used, fresh *instance) error {
	pairs := samplePairs()
	return compare(pairs, func(inst int, in []policies.Pair, out []policies.Resolution) error {
		return []*instance{used, fresh}[inst].askResolutions(ctx, in, out)
	})
}

// compare asks instance 0 about the batch, then once more in reverse, then instance 1 one by one.
func compare[In any, Out comparable](in []In, ask func(inst int, in []In, out []Out) error) error {
	n := len(in)
	first, second, alone := make([]Out, n), make([]Out, n), make([]Out, n)
	if err := ask(0, in, first); err != nil {
		return err
	}
	reversed := make([]In, n)
	for i := range in {
		reversed[i] = in[n-1-i]
	}
	if err := ask(0, reversed, second); err != nil {
		return err
	}
	for i := range in {
		if err := ask(1, in[i:i+1], alone[i:i+1]); err != nil {
			return err
		}
		if first[i] != second[n-1-i] || first[i] != alone[i] {
			return fmt.Errorf("it answers %+v in a batch, %+v when asked again, %+v alone in a fresh instance: "+
				"answer from the facts only", first[i], second[n-1-i], alone[i])
		}
	}
	return nil
}
