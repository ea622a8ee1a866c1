package cases_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/policies/policytest/cases"
)

var rewrite = flag.Bool("rewrite", false, "write the answers into the cases")

func TestNativeCases(t *testing.T) {
	const path = "testdata/native.txt"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := cases.Parse(path, text)
	if err != nil {
		t.Fatal(err)
	}
	outcomes, err := f.Run(context.Background(), policies.Native())
	if err != nil {
		t.Fatal(err)
	}
	if *rewrite {
		if err := os.WriteFile(path, f.Rewrite(outcomes), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, o := range outcomes {
		if !o.OK() {
			t.Error(o)
		}
	}
}

// A policy that answers outside of the envelope is shown what the cell makes of it.
func TestOverruled(t *testing.T) {
	f, err := cases.Parse("x", []byte("conflict delete | repair -> coexist overruled to reject: because"))
	if err != nil {
		t.Fatal(err)
	}
	outcomes, err := f.Run(context.Background(), careless{})
	if err != nil {
		t.Fatal(err)
	}
	if len(outcomes) != 1 || !outcomes[0].OK() {
		t.Errorf("%v", outcomes)
	}
}

type careless struct{}

func (careless) Info() policies.Info {
	return policies.Info{Name: "careless", Reasons: []string{"unspecified", "because"}}
}

func (careless) Score(_ context.Context, facts []policies.Facts, out []policies.Score) (uint64, error) {
	return 0, nil
}

func (careless) Conflict(_ context.Context, pairs []policies.Pair, out []policies.Resolution) (uint64, error) {
	for i := range pairs {
		out[i] = policies.Resolution{Verdict: policies.Coexist, Reason: 1}
	}
	return 0, nil
}

// brittle does not answer about a kind, alone or among others, and answers no more than most at once.
type brittle struct {
	kind policies.Kind
	most int
}

func (brittle) Info() policies.Info {
	return policies.Info{Name: "brittle", Reasons: []string{"unspecified"}}
}

func (b brittle) Score(_ context.Context, facts []policies.Facts, out []policies.Score) (uint64, error) {
	for i := range facts {
		out[i].Priority = int32(facts[i].Kind)
		if facts[i].Kind == b.kind || len(facts) > b.most {
			return 0, errors.New("policy brittle: policy_score: trap: unreachable")
		}
	}
	return 0, nil
}

func (b brittle) Conflict(_ context.Context, pairs []policies.Pair, out []policies.Resolution) (uint64, error) {
	for i := range pairs {
		out[i].Verdict = policies.Wait
		if pairs[i].Incoming.Kind == b.kind || len(pairs) > b.most {
			return 0, errors.New("policy brittle: policy_conflict: trap: unreachable")
		}
	}
	return 0, nil
}

// A case that makes the policy fail is found by its line, and the others have their answers.
func TestFailingCases(t *testing.T) {
	const text = "# some\nscore repair -> 3 unspecified\nscore move -> policy_score: trap: unreachable\n" +
		"score delete -> 7 x\n" +
		"conflict move | repair -> wait unspecified\nconflict repair | move\n"
	f, err := cases.Parse("x", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	outcomes, err := f.Run(t.Context(), brittle{policies.KindMove, 10})
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		line       int
		got        string
		ok, failed bool
	}{
		{2, "3 unspecified", true, false},
		{3, "policy_score: trap: unreachable", false, true}, // also where that is wanted
		{4, "5 unspecified", false, false},
		{5, "wait unspecified", true, false},
		{6, "policy_conflict: trap: unreachable", false, true},
	}
	if len(outcomes) != len(want) {
		t.Fatalf("%d outcomes, want %d", len(outcomes), len(want))
	}
	for i, o := range outcomes {
		if w := want[i]; o.Line != w.line || o.Got != w.got || o.OK() != w.ok || o.Failed != w.failed {
			t.Errorf("%+v, want %+v", o, w)
		}
	}
	rewritten := strings.Replace(text, "7 x", "5 unspecified", 1) // what failed is no answer to write down
	if have := string(f.Rewrite(outcomes)); have != rewritten {
		t.Errorf("rewritten it is\n%s\nwant\n%s", have, rewritten)
	}
	if _, err := f.Run(t.Context(), brittle{policies.KindPunch, 1}); err == nil ||
		!strings.Contains(err.Error(), "3 cases one by one, but not all at once") {
		t.Errorf("one that fails in batches alone: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Run(ctx, brittle{policies.KindMove, 10}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"score": "x:1: no kind of operation",
		"\n# fine\nscore repare": `x:3: "repare" is no kind of operation; there are ` +
			`create, seal, repair, move, delete, punch, decommission, recommission`,
		"score repair live": `"live" is no field of the facts; there are ` +
			`attempts=, by=, class=, extent=, index=, length=, live=, now=, open, phase=, `,
		"score repair liv=1":           "place=, queued=, running=, same=, waiting=, want=",
		"score repair same-node":       `"same-node" is no field`,
		"conflict repair | move liv=1": "same-node, same=",
		"score repair live=300":        "live=300: want a number of 8 bits",
		"score repair by=nobody":       "by=nobody: want one of user, cell, decommission",
		"score repair waiting=10":      "waiting=10: want a duration",
		"score repair class=" + long17: "17 bytes, the most is 16",
		"conflict repair delete":       "with | between",
		"conflict repair |":            "no kind",
		"guess repair":                 `"guess" is asked`,
	} {
		_, err := cases.Parse("x", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

const long17 = "seventeen-bytes-x"

func FuzzParse(f *testing.F) {
	f.Add([]byte("score repair live=1 want=3 waiting=10m -> 11060 one\n"))
	f.Add([]byte("conflict move | move same-node -> merge\n# note\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := cases.Parse("x", text)
		if err != nil {
			return
		}
		outcomes, err := file.Run(context.Background(), policies.Native())
		if err != nil {
			t.Fatal(err)
		}
		again, err := cases.Parse("x", file.Rewrite(outcomes))
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		outcomes, _ = again.Run(context.Background(), policies.Native())
		for _, o := range outcomes {
			if !o.OK() {
				t.Fatalf("rewritten, and not right: %v", o)
			}
		}
	})
}
