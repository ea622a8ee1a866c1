package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

// healthPatience is how long a node has to say how it is. Its slowest check takes three seconds.
const healthPatience = 5 * time.Second

// The levels of a check, as nodes say them.
const (
	levelOK    = "OK"
	levelWarn  = "WARN"
	levelError = "ERR"
)

// healthCheck is a check of a node. The names and fields are a contract.
type healthCheck struct {
	Node   string `json:"node"`
	Check  string `json:"check"`
	Level  string `json:"level"`
	Detail string `json:"detail,omitempty"`
}

func newHealthCommand(a app) *cobra.Command {
	var node string
	cmd := &cobra.Command{
		Use: "health", Short: "Tell how each node is, check by check", Args: cli.Takes(0, 0),
		Example: "  datanode health\n  datanode health --node n2 -o json",
		Long: `Tell how each node is, check by check. It exits with 0 when all is well, with 1 when something wants to be
looked at (WARN), with 2 when something is wrong (ERR), a node that does not answer among it, and with 5 when none can
be asked.`,
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, _ []string) error {
			checks, err := cellHealth(ctx, c, node)
			if err != nil {
				return ofNode(node, err)
			}
			if err := printHealth(a, checks); err != nil {
				return err
			}
			return healthVerdict(checks)
		}),
	}
	cmd.Flags().StringVar(&node, "node", "", "of this node only (default: of all)")
	return cmd
}

func printHealth(a app, checks []healthCheck) error {
	return term.List(a.Terminal, term.Items(checks),
		term.Col("NODE", func(c healthCheck) string { return c.Node }),
		term.Col("CHECK", func(c healthCheck) string { return c.Check }),
		term.Col("LEVEL", func(c healthCheck) string { return c.Level }),
		term.Col("DETAIL", func(c healthCheck) string { return c.Detail }))
}

// healthVerdict is the worst of the checks, as an exit code.
func healthVerdict(checks []healthCheck) error {
	counts := map[string]int{}
	for _, c := range checks {
		counts[c.Level]++
	}
	code := exit.Failed
	switch {
	case counts[levelOK] == len(checks):
		return nil
	case counts[levelError] > 0:
		code = exit.Usage // which is 2, and means this here
	}
	return exit.With(code, "of %d checks %d say %s and %d %s", len(checks), counts[levelError], levelError,
		counts[levelWarn], levelWarn)
}

// cellHealth asks one node, or all nodes of the cell.
func cellHealth(ctx context.Context, c *client.Client, node string) ([]healthCheck, error) {
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	if node != "" {
		one, err := cli.FindNode(ctx, c, node)
		if err != nil {
			return nil, err
		}
		nodes = []wire.Node{one}
	}
	slices.SortFunc(nodes, func(a, b wire.Node) int { return cmp.Compare(a.ID, b.ID) })
	found := make([][]healthCheck, len(nodes))
	done := make(chan struct{}, len(nodes))
	for i, n := range nodes {
		go func() {
			found[i] = nodeHealth(ctx, c, n)
			done <- struct{}{}
		}()
	}
	for range nodes {
		<-done
	}
	return slices.Concat(found...), nil
}

// nodeHealth is what a node says of itself. One that says nothing is a check that failed.
func nodeHealth(ctx context.Context, c *client.Client, n wire.Node) []healthCheck {
	ctx, cancel := context.WithTimeout(ctx, healthPatience)
	defer cancel()
	answers := healthCheck{Node: n.ID, Check: "answers", Level: levelOK}
	reply, err := c.Health(ctx, n.ID)
	if err != nil {
		answers.Level, answers.Detail = levelError, term.OneLine(err.Error())
		if wire.CodeOf(err) == wire.CodeProtocol { // of an older build
			answers.Level, answers.Detail = levelWarn, fmt.Sprintf("it does not tell how it is: %s", term.OneLine(err.Error()))
		}
		return []healthCheck{answers}
	}
	checks := []healthCheck{answers}
	for _, got := range reply.Checks {
		checks = append(checks, healthCheck{Node: n.ID, Check: got.Name, Level: got.Level, Detail: got.Detail})
	}
	return checks
}
