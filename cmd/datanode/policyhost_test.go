package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// What a decision has cost is counted, and is part of its entry in the log.
func TestCostIsRecorded(t *testing.T) {
	cell := startPolicyCell(t)
	c := cell.client(devID(0))
	answers, err := c.Submit(t.Context(), []wire.Submission{{Kind: "create"}}, client.SubmitOptions{})
	must(t, err)
	must(t, client.Refusal(answers[0]))
	op, err := c.Op(t.Context(), answers[0].Op)
	must(t, err)
	if op.Decision.Cost == 0 || op.Decision.Budget != 32<<20+32<<10 || op.Decision.Fallback != "" {
		t.Errorf("the decision: %+v, want a cost, the budget of one record and no fallback", op.Decision)
	}
	for e, err := range c.LogRange(t.Context(), "", 1, 0) {
		must(t, err)
		for _, cmd := range e.Commands {
			if cmd.Type == "admit" && strings.Contains(cmd.Text, "cost=") && !strings.Contains(cmd.Text, "cost=0") {
				return
			}
		}
	}
	t.Error("no admit entry of the log shows a cost")
}

// A node refuses a module that means harm, and says why, across the wire.
func TestHostileModuleIsRefused(t *testing.T) {
	host, err := newHost(t.Context(), nil, t.TempDir())
	must(t, err)
	defer func() { must(t, host.Close(context.WithoutCancel(t.Context()))) }()
	_, err = policyHost{host}.Compile(t.Context(), []byte("\x00asm\x01\x00\x00\x00"), nil, state.MostBudget())
	if refused := (*wire.Error)(nil); !errors.As(err, &refused) || refused.Code != wire.CodeEnvelope ||
		!strings.Contains(err.Error(), string(plugins.MissingExport)) {
		t.Errorf("%v, want a refusal for %s", err, plugins.MissingExport)
	}
	_, err = policyHost{host}.Compile(t.Context(), plugins.Default(), nil, state.Budget{Batch: 1 << 10, Record: 1 << 10, Start: 4 << 10})
	if wire.CodeOf(err) != wire.CodeEnvelope || !strings.Contains(err.Error(), "policy-start-budget") {
		t.Errorf("%v, want a refusal that names what to raise", err)
	}
	p, err := policyHost{host}.Compile(t.Context(), plugins.Default(), nil, state.MostBudget())
	must(t, err)
	if p.Info().Name != "default" {
		t.Errorf("%+v", p.Info())
	}
}

// startPolicyCell starts a cell of three nodes that can run policies. It ends with the test.
func startPolicyCell(t *testing.T) *demoCell {
	t.Helper()
	host, err := newHost(t.Context(), nil, "")
	must(t, err)
	d := demonstration{dir: t.TempDir(), nodes: 3}
	cell, err := d.startCell(t.Context(), slog.New(slog.DiscardHandler), policyHost{host})
	must(t, err)
	t.Cleanup(func() {
		cell.close()
		must(t, host.Close(context.WithoutCancel(t.Context())))
	})
	return cell
}
