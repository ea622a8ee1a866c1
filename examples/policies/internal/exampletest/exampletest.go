// Package exampletest builds the policy in the working directory as a module and holds it against
// the conformance suite and the cases beside it.
package exampletest

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/policies/policytest"
	"github.com/datanode/datanode/policies/policytest/cases"
)

var rewrite = flag.Bool("rewrite", false, "write the answers into the cases")

// Run is the test of an example: go test, or go test -rewrite to take over its answers.
func Run(t *testing.T) {
	ctx := context.Background()
	host, err := plugins.New(ctx, plugins.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close(ctx)
	module, err := host.Compile(ctx, Build(t))
	if err != nil {
		t.Fatal(err)
	}
	defer module.Close(ctx)
	t.Run("conforms", func(t *testing.T) { policytest.Run(t, module) })
	runCases(t, module)
}

// Build compiles the policy in the working directory as its README says.
func Build(t *testing.T) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "policy.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, ".")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, text)
	}
	module, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return module
}

func runCases(t *testing.T, p policies.Policy) {
	paths, err := filepath.Glob("cases/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) { runFile(t, p, path) })
	}
}

func runFile(t *testing.T, p policies.Policy, path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := cases.Parse(path, text)
	if err != nil {
		t.Fatal(err)
	}
	outcomes, err := f.Run(context.Background(), p)
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
