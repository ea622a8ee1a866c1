package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
	"github.com/datanode/datanode/cmd/datanode/internal/policyhost"
	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// worstUnit is how long a unit of metered work takes at the worst: where every load misses the caches.
const worstUnit = 4 * time.Nanosecond

// The settings and the host of policies do not know each other, but must agree.
func TestBudgetsAgree(t *testing.T) {
	most := state.MostBudget()
	if took := time.Duration(most.Of(256)) * worstUnit; took >= policyhost.CallTimeout {
		t.Errorf("settings allow a batch that takes %v, and a call is given up after %v", took, policyhost.CallTimeout)
	}
	if took := time.Duration(most.Start) * worstUnit; took >= 5*policyhost.CallTimeout {
		t.Errorf("settings allow to start for %v, and that is given up after %v", took, 5*policyhost.CallTimeout)
	}
	keys := map[string]bool{}
	state.DefaultSettings().Each(func(key, _, _ string) { keys[key] = true })
	for _, key := range []string{plugins.SettingBatch, plugins.SettingRecord, plugins.SettingStart} {
		if !keys[key] {
			t.Errorf("what is to be raised, %s, is no setting", key)
		}
	}
	for key, value := range map[string]string{plugins.SettingBatch: "1023", plugins.SettingRecord: "1023",
		plugins.SettingStart: "1023Ki"} {
		if _, err := state.DefaultSettings().With(key, value); err == nil {
			t.Errorf("%s can be %s", key, value)
		}
	}
	settings := state.DefaultSettings()
	host, err := plugins.New(t.Context(), plugins.Options{})
	clitest.Must(t, err)
	report, err := host.Check(t.Context(), plugins.Default())
	clitest.Must(t, err)
	if report.Budget != settings.Budget() {
		t.Errorf("without a cell policies are held to %+v, in a new one to %+v", report.Budget, settings.Budget())
	}
	least := policies.Budget{Batch: 1 << 10, Record: 1 << 10, Start: 1 << 20}
	m, err := host.Compile(t.Context(), plugins.Default())
	clitest.Must(t, err)
	if err := m.Fits(least); err != nil {
		t.Errorf("within the least that can be set, %+v, not even the default policy answers: %v", least, err)
	}
	clitest.Must(t, host.Close(t.Context()))
}

// The document has the bounds that the code has.
func TestBudgetsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/policy-abi.md")
	clitest.Must(t, err)
	settings := state.DefaultSettings()
	have, most := settings.Budget(), state.MostBudget()
	for key, units := range map[string][]uint64{
		plugins.SettingBatch: {have.Batch, most.Batch}, plugins.SettingRecord: {have.Record, most.Record},
		plugins.SettingStart: {have.Start, most.Start},
	} {
		_, row, found := strings.Cut(string(text), "| `"+key+"` |")
		row, _, _ = strings.Cut(row, "\n")
		for _, n := range units {
			if !found || !strings.Contains(row, "`"+state.UnitsText(n)+"`") {
				t.Errorf("the row of %s does not say %s: %s", key, state.UnitsText(n), row)
			}
		}
	}
}

// A policy written in Go, under budgets that are too small for it and are raised again, in a cell and across
// a restart.
func TestBudgetEndsAPolicy(t *testing.T) {
	h := newHoursCell(t)
	h.start()
	o := ordering{t: t, c: h.c}
	p := o.load("least-redundant-first", nil)
	_, err := h.c.PolicyActivate(t.Context(), p.Digest)
	clitest.Must(t, err)
	decision := func() wire.Decision {
		t.Helper()
		answers, err := h.c.Submit(t.Context(), []wire.Submission{{Kind: "create"}}, client.SubmitOptions{})
		clitest.Must(t, err)
		clitest.Must(t, client.Refusal(answers[0]))
		op, err := h.c.Op(t.Context(), answers[0].Op)
		clitest.Must(t, err)
		return op.Decision
	}
	decides := func() {
		t.Helper()
		if d := decision(); d.Digest != p.Digest || d.Fallback != "" || d.Cost == 0 {
			t.Errorf("decided by %s at a cost of %d, fallback %q; want %s", d.Digest, d.Cost, d.Fallback, p.Digest)
		}
	}
	overruns := func(call, setting string) {
		t.Helper()
		d := decision()
		if d.Digest == p.Digest || !strings.Contains(d.Fallback, call+": overrun") || !strings.Contains(d.Fallback, setting) {
			t.Errorf("decided by %s, fallback %q; want that %s overruns and %s is to be raised", d.Digest, d.Fallback, call,
				setting)
		}
	}
	set := func(key, value string) {
		t.Helper()
		clitest.Must(t, h.c.SetSetting(t.Context(), key, value))
	}
	decides()
	set("policy-record-budget", "1Ki")
	decides() // the garbage collector's share is still there
	set("policy-batch-budget", "1Ki")
	overruns("policy_score", "policy-batch-budget, policy-record-budget")
	set("policy-batch-budget", "32Mi")
	decides()

	set("policy-start-budget", "1Mi")
	overruns("_initialize", "policy-start-budget") // though it was started when it was allowed to
	clitest.Must(t, h.node.Close())
	h.cfg.Bootstrap = nil
	h.start()
	overruns("_initialize", "policy-start-budget")
	_, err = h.c.PolicyLoadWith(t.Context(), plugins.Default(), map[string]string{"again": "1"})
	clitest.Must(t, err) // it takes less
	set("policy-start-budget", "128Mi")
	decides()
}
