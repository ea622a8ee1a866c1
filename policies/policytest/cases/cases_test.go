package cases_test

import (
	"context"
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

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"score":                        "x:1: no kind of operation",
		"\n# fine\nscore repare":       `x:3: "repare" is no kind of operation`,
		"score repair live":            `"live" is no field`,
		"score repair same-node":       `"same-node" is no field`,
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
