package author

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/policies"
)

// A policy is measured as it is configured, and within the budgets that are given.
func TestPolicyCheckFlags(t *testing.T) {
	t.Parallel()
	check := func(code int, args ...string) (r Checked) {
		t.Helper()
		var out bytes.Buffer
		notes := &clitest.Watcher{}
		args = append([]string{"policy", "check", "../../../../examples/policies/gold-class-first/gold-class-first.wasm",
			"-o", "json"}, args...)
		if have := run(t.Context(), args, strings.NewReader(""), &out, notes, clitest.NoEnv); have != code {
			t.Fatalf("exit code %d, want %d: %s%s", have, code, out.String(), notes)
		}
		if code == exit.Done {
			clitest.Must(t, json.Unmarshal(out.Bytes(), &r))
		}
		return r
	}
	plain := check(exit.Done)
	configured := check(exit.Done, "--config", "class="+strings.Repeat("silver", 2))
	if configured.StartCost <= plain.StartCost || configured.Config["class"] == "" {
		t.Errorf("configured with %v it takes %d units to start, without %d", configured.Config, configured.StartCost,
			plain.StartCost)
	}
	within := check(exit.Done, "--batch-budget", "64Mi", "--record-budget", "1Ki", "--start-budget", "2097152")
	if want := (policies.Budget{Batch: 64 << 20, Record: 1 << 10, Start: 2 << 20}); within.Budget != want {
		t.Errorf("it was held to %+v, want %+v", within.Budget, want)
	}
	check(exit.Usage, "--batch-budget", "2Gi")
	check(exit.Usage, "--config", "colour=red") // not in its schema
}
