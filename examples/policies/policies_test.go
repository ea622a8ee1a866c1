// Package policies_test builds every example as its author would, and holds the module against the
// conformance suite and the cases in its folder.
//
// What is not written in Go is committed as a module too, so that its cases run where its compiler is
// missing. Where the compiler is there, in the pinned version, the source must give the same bytes.
//
//	go test ./examples/policies -rewrite    takes over what the policies answer, and the modules
package policies_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/plugins/guest/build"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/policies/policytest"
	"github.com/datanode/datanode/policies/policytest/cases"
)

var rewrite = flag.Bool("rewrite", false, "write the answers into the cases, and the modules that were built")

// mostBytes is what a module that is committed may take.
const mostBytes = 4096

func examples(t testing.TB) []string {
	t.Helper()
	readmes, err := filepath.Glob("*/README.md")
	if err != nil || len(readmes) != 5 {
		t.Fatalf("%d examples, %v, want 5", len(readmes), err)
	}
	var names []string
	for _, path := range readmes {
		names = append(names, filepath.Dir(path))
	}
	return names
}

func TestExamples(t *testing.T) {
	for _, name := range examples(t) {
		t.Run(name, func(t *testing.T) {
			module := moduleOf(t, name)
			p := compile(t, module, nil)
			if p.Info().Name != name {
				t.Errorf("the module calls itself %q, want the folder's name", p.Info().Name)
			}
			t.Run("conforms", func(t *testing.T) { policytest.Run(t, p) })
			runCases(t, p, name+"/cases/*.txt", 2)
			configured, err := filepath.Glob(name + "/configured/*.txt")
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range configured {
				runCases(t, compile(t, module, configOf(t, path)), path, 1)
			}
		})
	}
}

// moduleOf is the example's module: built, or, where that cannot be, the committed one.
func moduleOf(t testing.TB, name string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "policy.wasm")
	lang, err := build.LangOf(name)
	if err != nil {
		t.Fatal(err)
	}
	committed := filepath.Join(name, name+".wasm")
	err = build.Policy(t.Context(), name, out, build.Options{Pinned: true, Node: "../../plugins/guest/assemblyscript"})
	missing := (*build.MissingError)(nil)
	switch {
	case errors.As(err, &missing) && lang != build.Go && os.Getenv("CI") == "":
		t.Logf("%v; the committed module is tested", err)
		return read(t, committed)
	case err != nil:
		t.Fatal(err)
	}
	module := read(t, out)
	if lang == build.Go {
		return module
	}
	if *rewrite {
		write(t, committed, module)
	}
	if !bytes.Equal(module, read(t, committed)) {
		t.Errorf("%s is not what its source gives: run `go test ./examples/policies -rewrite` and commit it", committed)
	}
	if len(module) > mostBytes {
		t.Errorf("%s takes %d bytes, want %d at most", committed, len(module), mostBytes)
	}
	return module
}

func compile(t testing.TB, module []byte, config map[string]string) policies.Policy {
	t.Helper()
	ctx := context.Background()
	host, err := plugins.New(ctx, plugins.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close(ctx) })
	m, err := host.CompileWith(ctx, module, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(ctx) })
	return m
}

// configOf reads the first line of a file of cases, "# config: key=value key=value".
func configOf(t *testing.T, path string) map[string]string {
	t.Helper()
	line, _, _ := strings.Cut(string(read(t, path)), "\n")
	text, ok := strings.CutPrefix(line, "# config: ")
	if !ok {
		t.Fatalf("%s begins with %q, want # config:", path, line)
	}
	config := map[string]string{}
	for field := range strings.FieldsSeq(text) {
		key, value, _ := strings.Cut(field, "=")
		config[key] = value
	}
	return config
}

func runCases(t *testing.T, p policies.Policy, pattern string, least int) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) < least {
		t.Fatalf("%d files of cases %s, %v, want %d at least", len(paths), pattern, err, least)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) { runFile(t, p, path) })
	}
}

func runFile(t *testing.T, p policies.Policy, path string) {
	f, err := cases.Parse(path, read(t, path))
	if err != nil {
		t.Fatal(err)
	}
	outcomes, err := f.Run(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if *rewrite {
		write(t, path, f.Rewrite(outcomes))
		return
	}
	for _, o := range outcomes {
		if !o.OK() {
			t.Error(o)
		}
	}
}

// A configuration that makes no sense is refused when the policy is loaded.
func TestConfigIsRefused(t *testing.T) {
	ctx := t.Context()
	host, err := plugins.New(ctx, plugins.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close(ctx)
	module := moduleOf(t, "quiet-hours")
	for _, from := range []string{"", "x", "24", "-1", "123"} {
		if m, err := host.CompileWith(ctx, module, map[string]string{"from": from}); err == nil {
			m.Close(ctx)
			t.Errorf("from=%q was accepted", from)
		}
	}
}

// fair-share keeps what it promises: of a thousand repairs of one class and ten of another that came
// later, the ten are spread over the queue, and shares make them come earlier.
func TestFairShareSpreads(t *testing.T) {
	module := moduleOf(t, "fair-share")
	for shares, most := range map[string]int{"": 750, "small=20": 150} {
		config := map[string]string{"shares": shares}
		if shares == "" {
			config = nil
		}
		if middle := middleOfSmall(t, compile(t, module, config)); middle > most {
			t.Errorf("shares %q: half of the ten have started after %d starts, want %d at most", shares, middle, most)
		}
	}
}

// middleOfSmall is how many operations start before half of the class small has.
func middleOfSmall(t *testing.T, p policies.Policy) int {
	const large, small = 1000, 10
	facts := make([]policies.Facts, large+small)
	for i := range facts {
		f := policies.Facts{Kind: policies.KindRepair, Phase: policies.PhaseIncoming, Extent: uint64(1000 + i),
			LiveReplicas: 2, WantReplicas: 3}
		class := "large"
		if i >= large {
			class = "small"
		}
		copy(f.Class[:], class)
		facts[i] = f
	}
	scores := make([]policies.Score, len(facts))
	if _, err := p.Score(t.Context(), facts, scores); err != nil {
		t.Fatal(err)
	}
	var before []int // for each small one, how many start before it
	for i := large; i < len(facts); i++ {
		n := 0
		for j := range facts {
			if scores[j].Priority > scores[i].Priority {
				n++
			}
		}
		before = append(before, n)
	}
	fewer := func(n int) (count int) {
		for _, b := range before {
			if b < n {
				count++
			}
		}
		return count
	}
	n := 0
	for fewer(n) < small/2 {
		n++
	}
	return n
}

// BenchmarkExamples gives the line in each README: nanoseconds for one decision in a batch of 256.
func BenchmarkExamples(b *testing.B) {
	const batch = 256
	for _, name := range examples(b) {
		module := moduleOf(b, name)
		p := compile(b, module, nil)
		g := policytest.NewGenerator(1)
		facts, scores := make([]policies.Facts, batch), make([]policies.Score, batch)
		pairs, resolutions := make([]policies.Pair, batch), make([]policies.Resolution, batch)
		for i := range batch {
			facts[i], pairs[i] = g.Facts(), g.Pair()
		}
		measure := func(what string, ask func() (uint64, error)) {
			b.Run(fmt.Sprintf("%s/%s", name, what), func(b *testing.B) {
				var cost uint64
				for b.Loop() {
					c, err := ask()
					if err != nil {
						b.Fatal(err)
					}
					cost = c
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/decision")
				b.ReportMetric(float64(cost)/batch, "cost/decision")
				b.ReportMetric(float64(len(module)), "module-bytes")
			})
		}
		measure("score", func() (uint64, error) { return p.Score(b.Context(), facts, scores) })
		measure("conflict", func() (uint64, error) { return p.Conflict(b.Context(), pairs, resolutions) })
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func write(t testing.TB, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A policy that refuses its configuration is heard: what it logged last is in the error.
func TestRefusedConfiguration(t *testing.T) {
	ctx := context.Background()
	host, err := plugins.New(ctx, plugins.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close(ctx)
	_, err = host.CompileWith(ctx, read(t, "quiet-hours/quiet-hours.wasm"), map[string]string{"from": "30"})
	if err == nil || !strings.Contains(err.Error(), "from and to are hours of the day, 0 to 23") {
		t.Fatalf("from=30: %v, want what the policy says of it", err)
	}
}
