package main

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
	"github.com/datanode/datanode/cmd/datanode/internal/local"
	"github.com/datanode/datanode/cmd/datanode/internal/policyhost"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// What a decision has cost is counted, and is part of its entry in the log.
func TestCostIsRecorded(t *testing.T) {
	cell := startPolicyCell(t)
	c := cell.Client(local.ID(0))
	answers, err := c.Submit(t.Context(), []wire.Submission{{Kind: "create"}}, client.SubmitOptions{})
	clitest.Must(t, err)
	clitest.Must(t, client.Refusal(answers[0]))
	op, err := c.Op(t.Context(), answers[0].Op)
	clitest.Must(t, err)
	if op.Decision.Cost == 0 || op.Decision.Budget != 32<<20+32<<10 || op.Decision.Fallback != "" {
		t.Errorf("the decision: %+v, want a cost, the budget of one record and no fallback", op.Decision)
	}
	for e, err := range c.LogRange(t.Context(), "", 1, 0) {
		clitest.Must(t, err)
		for _, cmd := range e.Commands {
			if cmd.Type == "admit" && strings.Contains(cmd.Text, "cost=") && !strings.Contains(cmd.Text, "cost=0") {
				return
			}
		}
	}
	t.Error("no admit entry of the log shows a cost")
}

// startPolicyCell starts a cell of three nodes that can run policies. It ends with the test.
func startPolicyCell(t *testing.T) *local.Cell {
	t.Helper()
	host, err := policyhost.New(t.Context(), nil, "")
	clitest.Must(t, err)
	cell, err := local.Start(t.Context(), local.Options{
		Dir: t.TempDir(), Listen: "127.0.0.1:0", Nodes: 3, Voters: 3, Replicas: 1, RepairDelay: "1s",
		Policies: policyhost.For(host), Logger: slog.New(slog.DiscardHandler),
	})
	clitest.Must(t, err)
	t.Cleanup(func() {
		cell.Close()
		clitest.Must(t, host.Close(context.WithoutCancel(t.Context())))
	})
	return cell
}
