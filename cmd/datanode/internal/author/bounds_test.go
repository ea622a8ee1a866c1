package author

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/plugins/guest/build"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/policies/policytest/cases"
)

// A build that ran out of time says so, and not that its compiler is missing or has refused the source.
func TestPolicyBuildTimesOut(t *testing.T) {
	dir, path := filepath.Join(t.TempDir(), "mine"), t.TempDir()
	var written Created
	told(t, &written, "policy", "new", "--lang", string(build.C), dir)
	clitest.Must(t, os.WriteFile(filepath.Join(path, "clang"), []byte("#!/bin/sh\nexec sleep 600\n"),
		0o700)) //nolint:gosec // to be run
	t.Setenv("PATH", path+":"+os.Getenv("PATH"))
	if code, _, notes := tell(t, "policy", "build", dir, "--timeout", "20ms"); code != exit.Unavailable ||
		!strings.Contains(notes, "gave up after --timeout 20ms") {
		t.Errorf("exit code %d: %s", code, notes)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, notes bytes.Buffer
	if code := run(ctx, []string{"policy", "build", dir}, strings.NewReader(""), &out, &notes,
		clitest.NoEnv); code != exit.Interrupted {
		t.Errorf("interrupted: exit code %d: %s", code, notes.String())
	}
}

// failsMoves is the native policy, but it does not answer about moves.
type failsMoves struct{ policies.Policy }

func (p failsMoves) Score(ctx context.Context, facts []policies.Facts, out []policies.Score) (uint64, error) {
	for _, f := range facts {
		if f.Kind == policies.KindMove {
			return 0, &plugins.CallError{Policy: p.Info().Name, Call: "policy_score", Cause: plugins.Trapped,
				Detail: "unreachable"}
		}
	}
	return p.Policy.Score(ctx, facts, out)
}

// A case without an answer is shown with its line and why, the others have theirs, and nothing of it is written down.
func TestPolicyTestGoesOn(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.txt")
	const text = "score repair live=1 want=3 -> 11000 repair: one live copy is left\nscore move -> 5 x\n" +
		"score seal -> 5 x\n"
	clitest.Must(t, os.WriteFile(name, []byte(text), 0o600))
	parsed, err := cases.Parse(name, []byte(text))
	clitest.Must(t, err)
	files := []caseFile{{name: name, text: []byte(text), parsed: parsed}, {name: name, text: []byte(text), parsed: parsed}}
	run := func(output string, rewrite bool) (string, string, error) {
		var out, notes bytes.Buffer
		test := policyTest{tools: tools{cli.New(nil, &out, &notes, clitest.NoEnv)}, rewrite: rewrite}
		test.Output = output
		clitest.Must(t, test.try(t.Context(), failsMoves{policies.Native()}, files))
		err := test.conclude()
		return out.String(), notes.String(), err
	}
	out, _, err := run(term.FormatTable, false)
	if strings.Count(out, "x.txt:2: score move\n  - 5 x\n  + policy_score: trap: unreachable\n") != 2 ||
		strings.Count(out, "x.txt:3: score seal\n  - 5 x\n  + 9000 seal") != 2 {
		t.Errorf("it says %s", out)
	}
	coded := (*exit.Error)(nil)
	if !errors.As(err, &coded) || coded.Code != exit.Failed || err.Error() != "2 cases of 6 got no answer, and 2 "+
		"another one; --rewrite takes over those that there are" {
		t.Errorf("%v", err)
	}
	out, _, err = run(term.FormatJSON, false)
	var all []tested
	clitest.Must(t, json.Unmarshal([]byte(out), &all))
	if err == nil || len(all) != 6 || !all[0].OK || all[1].OK || !all[1].Failed || all[2].Failed || all[2].OK {
		t.Errorf("%v, %+v", err, all)
	}
	_, notes, err := run(term.FormatTable, true)
	if err == nil || !strings.Contains(err.Error(), "their lines are left as they are") ||
		!strings.Contains(notes, "answers rewritten") {
		t.Errorf("%v, %s", err, notes)
	}
	after, err := os.ReadFile(name)
	clitest.Must(t, err)
	if !strings.Contains(string(after), "score move -> 5 x\n") || strings.Contains(string(after), "seal -> 5 x") {
		t.Errorf("it is now\n%s", after)
	}
}
