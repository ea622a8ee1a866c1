package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/datanode/datanode/cmd/datanode/internal/author"
	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/local"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/plugins/guest/build"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// What a policy counts is shown wherever it is run: in its trial, on its cases, and in the cell.
func TestPolicyCounters(t *testing.T) {
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOFLAGS", "")
	t.Setenv("GOTOOLCHAIN", "local")
	dir := filepath.Join(t.TempDir(), "mine")
	var written author.Created
	told(t, &written, "policy", "new", dir)
	file := filepath.Join(dir, build.Go.Main())
	source, err := os.ReadFile(file)
	clitest.Must(t, err)
	const score = "func score(f *guest.Facts) (int32, guest.Reason) {\n"
	if !strings.Contains(string(source), score) {
		t.Fatalf("the new policy has no %q", score)
	}
	counting := strings.Replace(string(source), score, score+"\tguest.Count(\"scored\", 1)\n", 1)
	clitest.Must(t, os.WriteFile(file, []byte(counting), 0o600))
	module := filepath.Join(dir, "mine.wasm")
	if code, out, notes := tell(t, "policy", "build", dir); code != exit.Done {
		t.Fatalf("policy build: exit code %d: %s%s", code, out, notes)
	}
	var c author.Checked
	told(t, &c, "policy", "check", module)
	if c.Counters["scored"] != int64(2*c.Scores.Samples) {
		t.Errorf("policy check: it counted %v, want 2 batches of %d", c.Counters, c.Scores.Samples)
	}
	cases := filepath.Join(dir, "cases", "order.txt")
	text, err := os.ReadFile(cases)
	clitest.Must(t, err)
	if _, _, notes := tell(t, "policy", "test", module, cases); !strings.Contains(notes,
		"counted: scored "+term.Count(strings.Count("\n"+string(text), "\nscore "))+"\n") {
		t.Errorf("policy test does not say what it counted: %s", notes)
	}
	countsInACell(t, module)
}

func countsInACell(t *testing.T, module string) {
	cell := startPolicyCell(t)
	cl := cell.Client(local.ID(0))
	bytes, err := os.ReadFile(module)
	clitest.Must(t, err)
	p, err := cl.PolicyLoad(t.Context(), bytes)
	clitest.Must(t, err)
	_, err = cl.PolicyActivate(t.Context(), p.Digest)
	clitest.Must(t, err)
	answers, err := cl.Submit(t.Context(), []wire.Submission{{Kind: "create"}}, client.SubmitOptions{})
	clitest.Must(t, err)
	clitest.Must(t, client.Refusal(answers[0]))
	nodes, err := cl.Nodes(t.Context())
	clitest.Must(t, err)
	var shown wire.Policy
	told(t, &shown, "policy", "show", "mine", "--addr", nodes[0].Addr)
	if shown.Counters["scored"] == 0 || shown.CountedOn == "" {
		t.Errorf("policy show: it counted %v on %q", shown.Counters, shown.CountedOn)
	}
	if _, out, _ := tell(t, "policy", "show", "mine", "--addr", nodes[0].Addr); !strings.Contains(out,
		"counted on "+shown.CountedOn) || !strings.Contains(out, "scored ") {
		t.Errorf("policy show: %s", out)
	}
}
