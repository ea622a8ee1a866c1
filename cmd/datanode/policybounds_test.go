package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/datanode/datanode/node/modules"
	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/plugins/guest/build"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/policies/policytest/cases"
)

// Whoever reads a module refuses one that is too large in the gate's own words, before it is read whole or sent.
func TestModuleTooLarge(t *testing.T) {
	if modules.MaxModuleBytes != plugins.MaxModuleBytes {
		t.Errorf("a node takes %d bytes, the gate %d", modules.MaxModuleBytes, plugins.MaxModuleBytes)
	}
	file := filepath.Join(t.TempDir(), "large.wasm")
	f, err := os.Create(file)
	must(t, err)
	must(t, f.Truncate(plugins.MaxModuleBytes+1))
	must(t, f.Close())
	const want = "policy refused (too-large): more than 8388608 bytes: build without symbols"
	for _, command := range []string{"check", "bench", "load"} {
		if code, _, notes := tell(t, "policy", command, file); code != exitRefused || !strings.Contains(notes, want) {
			t.Errorf("policy %s: exit code %d: %s", command, code, notes)
		}
	}
	code, out, _ := tell(t, "policy", "check", file, "-o", "json")
	var r refused
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitRefused || r.Reason != plugins.TooLarge {
		t.Errorf("exit code %d, %v: %s", code, err, out)
	}
	must(t, os.Truncate(file, plugins.MaxModuleBytes))
	if code, _, notes := tell(t, "policy", "check", file); code != exitRefused || !strings.Contains(notes, "not-wasm") {
		t.Errorf("one of just that size: exit code %d: %s", code, notes)
	}
}

// A build that ran out of time says so, and not that its compiler is missing or has refused the source.
func TestPolicyBuildTimesOut(t *testing.T) {
	dir, path := filepath.Join(t.TempDir(), "mine"), t.TempDir()
	var written newPolicy
	told(t, &written, "policy", "new", "--lang", string(build.C), dir)
	must(t, os.WriteFile(filepath.Join(path, "clang"), []byte("#!/bin/sh\nexec sleep 600\n"), 0o700)) //nolint:gosec // to be run
	t.Setenv("PATH", path+":"+os.Getenv("PATH"))
	if code, _, notes := tell(t, "policy", "build", dir, "--timeout", "20ms"); code != exitUnavailable || !strings.Contains(notes, "gave up after --timeout 20ms") {
		t.Errorf("exit code %d: %s", code, notes)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, notes bytes.Buffer
	if code := runContext(ctx, []string{"policy", "build", dir}, strings.NewReader(""), &out, &notes, noEnv); code != exitInterrupted {
		t.Errorf("interrupted: exit code %d: %s", code, notes.String())
	}
}

// What is wrong with a command line is said once, with what to do.
func TestPolicyUsage(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct {
		code int
		want string
		args []string
	}{
		{exitUsage, "which cases for native? Name their files after it: datanode policy test native cases/*.txt", []string{"test", "native"}},
		{exitUsage, dir + " is a folder; name the files of cases in it: " + filepath.Join(dir, "*.txt"), []string{"test", "native", dir}},
		{exitNotFound, "datanode: open none.wasm: no such file", []string{"bench", "none.wasm"}},
	} {
		if code, _, notes := tell(t, append([]string{"policy"}, tc.args...)...); code != tc.code || !strings.Contains(notes, tc.want) {
			t.Errorf("%q: exit code %d: %s; want %d, %s", tc.args, code, notes, tc.code, tc.want)
		}
	}
	_, _, notes := tell(t, "policy")
	at := 0
	for _, command := range []string{"new", "build", "check", "test", "bench", "load", "activate", "rollback", "ls", "show"} {
		next := strings.Index(notes, "  datanode policy "+command)
		if next <= at {
			t.Errorf("policy %s is not shown behind the one before:\n%s", command, notes)
		}
		at = next
	}
}

// failsMoves is the native policy, but it does not answer about moves.
type failsMoves struct{ policies.Policy }

func (p failsMoves) Score(ctx context.Context, facts []policies.Facts, out []policies.Score) (uint64, error) {
	for _, f := range facts {
		if f.Kind == policies.KindMove {
			return 0, &plugins.CallError{Policy: p.Info().Name, Call: "policy_score", Cause: plugins.Trapped, Detail: "unreachable"}
		}
	}
	return p.Policy.Score(ctx, facts, out)
}

// A case without an answer is shown with its line and why, the others have theirs, and nothing of it is written down.
func TestPolicyTestGoesOn(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.txt")
	const text = "score repair live=1 want=3 -> 11000 repair: one live copy is left\nscore move -> 5 x\nscore seal -> 5 x\n"
	must(t, os.WriteFile(name, []byte(text), 0o600))
	parsed, err := cases.Parse(name, []byte(text))
	must(t, err)
	files := []caseFile{{name: name, text: []byte(text), parsed: parsed}, {name: name, text: []byte(text), parsed: parsed}}
	run := func(output string, rewrite bool) (string, string, error) {
		var out, notes bytes.Buffer
		test := policyTest{app: &app{stdout: &out, stderr: &notes, output: output}, rewrite: rewrite}
		must(t, test.try(t.Context(), failsMoves{policies.Native()}, files))
		err := test.conclude()
		return out.String(), notes.String(), err
	}
	out, _, err := run(outputTable, false)
	if strings.Count(out, "x.txt:2: score move\n  - 5 x\n  + policy_score: trap: unreachable\n") != 2 || strings.Count(out, "x.txt:3: score seal\n  - 5 x\n  + 9000 seal") != 2 {
		t.Errorf("it says %s", out)
	}
	coded := (*codedError)(nil)
	if !errors.As(err, &coded) || coded.code != exitFailed || err.Error() != "2 cases of 6 got no answer, and 2 another one; --rewrite takes over those that there are" {
		t.Errorf("%v", err)
	}
	out, _, err = run(outputJSON, false)
	var all []tested
	must(t, json.Unmarshal([]byte(out), &all))
	if err == nil || len(all) != 6 || !all[0].OK || all[1].OK || !all[1].Failed || all[2].Failed || all[2].OK {
		t.Errorf("%v, %+v", err, all)
	}
	_, notes, err := run(outputTable, true)
	if err == nil || !strings.Contains(err.Error(), "their lines are left as they are") || !strings.Contains(notes, "answers rewritten") {
		t.Errorf("%v, %s", err, notes)
	}
	after, err := os.ReadFile(name)
	must(t, err)
	if !strings.Contains(string(after), "score move -> 5 x\n") || strings.Contains(string(after), "seal -> 5 x") {
		t.Errorf("it is now\n%s", after)
	}
}
