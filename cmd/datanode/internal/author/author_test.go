package author

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/policyhost"
	"github.com/datanode/datanode/plugins/guest/build"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/policies/policytest"
	"github.com/datanode/datanode/policies/policytest/cases"
)

// What policy new writes builds, answers its cases as wanted and passes the gate, in every language; in Go
// without a network. It is the same policy in all of them.
func TestNewPolicies(t *testing.T) {
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOFLAGS", "")
	t.Setenv("GOTOOLCHAIN", "local")
	modules := map[build.Lang][]byte{}
	for _, l := range build.Langs() {
		t.Run(string(l), func(t *testing.T) { modules[l] = newPolicyModule(t, l) })
	}
	host, err := policyhost.New(t.Context(), nil, "")
	clitest.Must(t, err)
	defer func() { clitest.Must(t, host.Close(context.WithoutCancel(t.Context()))) }()
	first, err := host.Compile(t.Context(), modules[build.Go])
	clitest.Must(t, err)
	for l, module := range modules {
		if module == nil || l == build.Go {
			continue
		}
		p, err := host.Compile(t.Context(), module)
		clitest.Must(t, err)
		if !slices.Equal(p.Info().Reasons, first.Info().Reasons) {
			t.Errorf("%s has the reasons %q, Go has %q", l, p.Info().Reasons, first.Info().Reasons)
		}
		t.Run(string(l)+" agrees", func(t *testing.T) { policytest.Agree(t, p, first, 20_000, 1) })
	}
}

// newPolicyModule goes the way of an author from nothing to a module; nil where there is no compiler.
func newPolicyModule(t *testing.T, l build.Lang) []byte {
	dir := filepath.Join(t.TempDir(), "mine.2-x")
	var written Created
	told(t, &written, "policy", "new", "--lang", string(l), dir)
	if written.Name != "mine.2-x" || written.Lang != l || !slices.Contains(written.Files, l.Main()) {
		t.Errorf("policy new: %+v", written)
	}
	if l == build.AssemblyScript {
		node, err := filepath.Abs("../../../../plugins/guest/assemblyscript/node_modules")
		clitest.Must(t, err)
		clitest.Must(t, os.Symlink(node, filepath.Join(dir, "node_modules"))) // as npm ci would
	}
	code, out, notes := tell(t, "policy", "build", dir)
	if code == exit.Refused && l != build.Go && os.Getenv("CI") == "" {
		t.Skipf("%s; skipped since the environment has no CI=true, with which this fails", notes)
	}
	if code != exit.Done {
		t.Fatalf("policy build: exit code %d: %s%s", code, out, notes)
	}
	file := filepath.Join(dir, "mine.2-x.wasm")
	if code, out, notes := tell(t, "policy", "test", dir); code != exit.Done || out != "" ||
		!strings.Contains(notes, "26 cases in 2 files, all as wanted") {
		t.Errorf("policy test: exit code %d: %s%s", code, out, notes)
	}
	var c Checked
	told(t, &c, "policy", "check", file)
	module, err := os.ReadFile(file)
	clitest.Must(t, err)
	if !c.Accepted || c.Name != "mine.2-x" || c.Digest != digestOf(module) || c.ModuleBytes != len(module) ||
		c.Scores.Samples == 0 {
		t.Errorf("policy check: %+v", c)
	}
	return module
}

// A module is tested against the cases beside it: those without a configuration, and each other file with
// its own.
func TestPolicyTestConfigured(t *testing.T) {
	const module = "../../../../examples/policies/quiet-hours/quiet-hours.wasm"
	code, out, notes := tell(t, "policy", "test", module)
	if code != exit.Done || !strings.Contains(notes, "in 4 files, all as wanted") {
		t.Errorf("exit code %d: %s%s", code, out, notes)
	}
	never := filepath.Join(filepath.Dir(module), "configured", "never.txt")
	code, out, notes = tell(t, "policy", "test", module, never, "--config", "to=23")
	if code != exit.Failed || !strings.Contains(out, "never.txt:2: score move now=2024-05-01T00:00:00Z\n"+
		"  - 1000 moves even out\n  + -9000 clients are busy") {
		t.Errorf("--config does not stand above the file's: exit code %d: %s%s", code, out, notes)
	}
	for _, tc := range []struct {
		code int
		want string
		args []string
	}{
		{exit.Refused, "with the configuration from=0 to=24: policy refused", []string{never, "--config", "to=24"}},
		{exit.Usage, `key "fro": the policy knows from, to`, []string{never, "--config", "fro=1"}},
		{exit.Usage, "want KEY=VALUE", []string{never, "--config", "from"}},
	} {
		code, _, notes := tell(t, append([]string{"policy", "test", module}, tc.args...)...)
		if code != tc.code || !strings.Contains(notes, tc.want) {
			t.Errorf("%q: exit code %d, %s; want %d, %s", tc.args, code, notes, tc.code, tc.want)
		}
	}
}

// -rewrite is --rewrite, changes what differs and leaves the rest of the file.
func TestPolicyTestRewrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "some.txt")
	const text = "# A last copy.\n\nscore repair live=1 want=3\nconflict delete | repair -> wait for me\n"
	clitest.Must(t, os.WriteFile(file, []byte(text), 0o600))
	if code, out, _ := tell(t, "policy", "test", "native", file); code != exit.Failed ||
		!strings.Contains(out, "no answer yet") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if code, out, notes := tell(t, "policy", "test", "native", file, "-rewrite"); code != exit.Done ||
		!strings.Contains(notes, "2 answers rewritten") {
		t.Errorf("exit code %d: %s%s", code, out, notes)
	}
	after, err := os.ReadFile(file)
	clitest.Must(t, err)
	const want = "# A last copy.\n\nscore repair live=1 want=3 -> 11000 repair: one live copy is left\n" +
		"conflict delete | repair -> reject nothing overtakes a delete\n"
	if string(after) != want {
		t.Errorf("it is now\n%s", after)
	}
}

// A script can read why a module is refused.
func TestPolicyCheckRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "empty.wasm")
	clitest.Must(t, os.WriteFile(file, []byte("\x00asm\x01\x00\x00\x00"), 0o600))
	code, out, notes := tell(t, "policy", "check", file, "-o", "jsonl")
	var r Refused
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exit.Refused || r.Accepted ||
		r.Reason != "missing-export" || r.Detail == "" {
		t.Errorf("exit code %d, %v: %+v in %s", code, err, r, out)
	}
	if !strings.Contains(notes, "policy refused (missing-export)") {
		t.Errorf("it says %s", notes)
	}
}

func TestPolicyBench(t *testing.T) {
	var rows []benched
	told(t, &rows, "policy", "bench", "default", "--against", "native", "--each", "4ms")
	if len(rows) != 12 {
		t.Fatalf("%d rows, want two policies, two questions, three batches: %+v", len(rows), rows)
	}
	for i, r := range rows {
		if want := []int{1, 64, 256}[i/2%3]; r.Batch != want || r.Asked != []string{"score", "conflict"}[i/6] {
			t.Errorf("row %d is of %s in batches of %d", i, r.Asked, r.Batch)
		}
		if r.Calls == 0 || r.Nanos <= 0 || r.NanosP50 <= 0 || r.NanosMax < r.NanosP50 {
			t.Errorf("row %d: %+v", i, r)
		}
		metered := r.Cost > 0 && r.CostMax >= r.Cost && r.BudgetShare > 0 && r.BudgetShare < 0.1 &&
			r.MemoryBytes >= pageBytes && r.Ratio > 0
		bare := r.Cost == 0 && r.BudgetShare == 0 && r.MemoryBytes == 0 && r.Ratio == 1
		if module := i%2 == 0; module != (r.Policy == "default") || module && !metered || !module && !bare {
			t.Errorf("row %d: %+v", i, r)
		}
	}
}

// The most expensive call is what the budget is compared with, not the usual one.
func TestBenchSamples(t *testing.T) {
	costs := []uint64{10, 10, 40}
	ask := func(_ context.Context, _ policies.Policy, turn int) (uint64, error) {
		return costs[turn%len(costs)], nil
	}
	var s benchSamples
	clitest.Must(t, s.measure(t.Context(), policies.Native(), ask, 1))
	subject := benchSubject{name: "x", memory: pageBytes}
	subject.budget.Batch, subject.budget.Record = 60, 10
	if r := s.row(subject, 2); r.CostMax != 20 || r.BudgetShare != 0.5 {
		t.Errorf("%+v, want 20 units a decision and half of the budget", r)
	}
}

func TestPolicyCompletion(t *testing.T) {
	code, out, _ := tell(t, "__complete", "policy", "new", "--lang", "")
	if code != exit.Done || !strings.HasPrefix(out, "go\nc\nrust\nas\nwat\n") {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// What a compiler has to say is shown as it is, and a missing one with what to install. Neither leaves a module.
func TestPolicyBuildFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mine")
	var written Created
	told(t, &written, "policy", "new", dir)
	clitest.Must(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n\nfunc main() { missing() }\n"),
		0o600))
	out := filepath.Join(t.TempDir(), "out.wasm")
	code, _, notes := tell(t, "policy", "build", dir, "-o", out) // as with a compiler
	lines := strings.Split(strings.TrimSpace(notes), "\n")
	if code != exit.Failed || !strings.Contains(notes, "main.go:3:15: undefined: missing") ||
		!strings.HasPrefix(lines[len(lines)-1], "datanode: ") {
		t.Errorf("exit code %d: %s", code, notes)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a module was left")
	}
	if code, _, notes := tell(t, "policy", "test", dir); code != exit.Failed ||
		!strings.Contains(notes, "undefined: missing") {
		t.Errorf("policy test: exit code %d: %s", code, notes)
	}
	t.Setenv("PATH", t.TempDir())
	for l, want := range map[build.Lang]string{build.C: "apt install clang", build.WAT: "apt install wabt",
		build.Go: "https://go.dev/dl"} {
		dir := filepath.Join(t.TempDir(), "mine")
		told(t, &written, "policy", "new", "--lang", string(l), dir)
		if code, _, notes := tell(t, "policy", "build", dir); code != exit.Refused || !strings.Contains(notes, want) {
			t.Errorf("%s: exit code %d: %s; want what to install", l, code, notes)
		}
	}
}

// -o names a module where it ends like one, and a format where it is one.
func TestPolicyBuildOutput(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mine")
	out := filepath.Join(t.TempDir(), "out.wasm")
	var written Created
	told(t, &written, "policy", "new", dir)
	if code, text, notes := tell(t, "policy", "build", dir, "-o", out); code != exit.Done ||
		!strings.Contains(text, "digest    sha256:") {
		t.Fatalf("exit code %d: %s%s", code, text, notes)
	}
	first, err := os.ReadFile(out)
	clitest.Must(t, err)
	var b builtModule
	told(t, &b, "policy", "build", dir, "-f", out)
	if b.File != out || b.Lang != build.Go || b.Bytes != len(first) || b.Digest != digestOf(first) {
		t.Errorf("%+v, want %s and the same module again, %s", b, out, digestOf(first))
	}
}

// The fields that the help of policy test names are those that there are.
func TestPolicyTestFields(t *testing.T) {
	fields := strings.ReplaceAll(policyTestFields, ", and same-node in a conflict", "")
	if strings.Contains(fields, ",") {
		t.Fatalf("%q", fields)
	}
	line := "conflict move | move same-node " + strings.Join(strings.Fields(fields), " ")
	if _, err := cases.Parse("help", []byte(line)); err != nil {
		t.Error(err)
	}
}
