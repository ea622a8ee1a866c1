package main

import (
	"context"
	"strings"

	"github.com/datanode/datanode/cmd/datanode/internal/author"
	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/node/modules"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

const policyHelp = `Policies choose what goes first and who yields, among outcomes that are all safe. From nothing to
one that decides:

  datanode policy new my-policy                    write a folder to begin with
  datanode policy build my-policy                  make my-policy/my-policy.wasm
  datanode policy check my-policy/my-policy.wasm   put it through the load gate
  datanode policy test my-policy                   build it, and hold it against its cases
  datanode policy bench my-policy/my-policy.wasm   measure what its decisions take
  datanode policy load my-policy/my-policy.wasm    bring it into the cell; it decides nothing yet
  datanode policy activate my-policy               let it decide from now on
  datanode policy rollback                         let the one before decide again
  datanode policy ls                               list those that are loaded
  datanode policy show my-policy                   describe one of them`

func newPolicyCommand(a app) *cobra.Command {
	cmd := cli.Group("policy", "Write, try, load, activate and roll back policies", policyHelp, author.Commands(a.App)...)
	cmd.AddCommand(newPolicyLoadCommand(a), newPolicyActivateCommand(a), newPolicyRollbackCommand(a),
		newPolicyListCommand(a), newPolicyShowCommand(a))
	return cmd
}

func newPolicyLoadCommand(a app) *cobra.Command {
	var activate bool
	var config []string
	cmd := &cobra.Command{
		Use: "load MODULE.wasm", Short: "Bring a policy into the cell; it decides nothing yet", Args: cli.Takes(1, 1),
		ValidArgsFunction: author.CompleteModules,
		Long: "Bring a policy into the cell; it decides nothing yet. Its configuration is part of what is loaded: " +
			"to change it, load the module " +
			"with another one, and activate that. policy rollback goes back to the policy before, " +
			"with the configuration that it had. A cell keeps 128 policies.",
		Example: "  datanode policy load mine.wasm\n  datanode policy load mine.wasm --activate\n" +
			"  datanode policy load quiet-hours.wasm --config from=22 --config to=6",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			if author.IsDir(args[0]) {
				return exit.Usagef("%s is a folder: make a module of it with policy build, and load that", args[0])
			}
			module, err := author.ReadModule(ctx, a.Terminal, args[0])
			if err != nil {
				return err
			}
			told, err := author.ParseConfig(config)
			if err != nil {
				return err
			}
			p, err := c.PolicyLoadWith(ctx, module, told)
			if err == nil && activate {
				p, err = c.PolicyActivate(ctx, p.Digest)
			}
			if err != nil {
				return err
			}
			return printPolicies(a, []wire.Policy{p})
		}),
	}
	cmd.Flags().BoolVar(&activate, "activate", false, "let it decide from now on")
	cmd.Flags().StringArrayVar(&config, "config", nil, "KEY=VALUE that the policy is told; repeatable")
	return cmd
}

func newPolicyActivateCommand(a app) *cobra.Command {
	return &cobra.Command{
		Use: "activate DIGEST|NAME", Short: "Let a loaded policy decide from now on", Args: cli.Takes(1, 1),
		Long: "Let a loaded policy decide from now on, once enough nodes have compiled it. " +
			"Its name will do, or the first digits of its digest.\n" +
			"Versions of a policy share its name, and so does one module with several configurations: " +
			"then only the digest tells them apart.",
		Example: "  datanode policy activate gold-class-first\n  datanode policy activate 7567149c",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			p, err := c.PolicyActivate(ctx, args[0])
			if err != nil {
				return err
			}
			return printPolicies(a, []wire.Policy{p})
		}),
	}
}

func newPolicyRollbackCommand(a app) *cobra.Command {
	return &cobra.Command{
		Use: "rollback", Short: "Let the policy decide again that did before", Args: cli.Takes(0, 0),
		Example: "  datanode policy rollback",
		Long: "Let the policy decide again that did before the active one. Twice is back to where it was; " +
			"policy ls shows which is which.",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, _ []string) error {
			p, err := c.PolicyRollback(ctx)
			if err != nil {
				return err
			}
			return printPolicies(a, []wire.Policy{p})
		}),
	}
}

func newPolicyListCommand(a app) *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: "List the loaded policies", Args: cli.Takes(0, 0),
		Example: "  datanode policy ls",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, _ []string) error {
			all, err := c.Policies(ctx)
			if err != nil {
				return err
			}
			return printPolicies(a, all.Policies)
		}),
	}
}

func printPolicies(a app, all []wire.Policy) error {
	return term.List(a.Terminal, term.Items(all),
		term.Col("STATE", func(p wire.Policy) string { return p.State }),
		term.Col("NAME", func(p wire.Policy) string { return p.Name }),
		term.Col("VERSION", func(p wire.Policy) string { return p.Version }),
		term.Col("BYTES", func(p wire.Policy) string { return term.Count(p.Bytes) }),
		term.Col("COMPILED-ON", func(p wire.Policy) string { return strings.Join(p.Compiled, ",") }),
		term.Col("DIGEST", func(p wire.Policy) string { return p.Digest }),
		term.Col("CONFIG", func(p wire.Policy) string { return policies.ConfigText(p.Config) }))
}

func newPolicyShowCommand(a app) *cobra.Command {
	return &cobra.Command{
		Use: "show DIGEST|NAME", Short: "Describe a loaded policy and its reasons", Args: cli.Takes(1, 1),
		Example: "  datanode policy show default",
		Long: "Describe a loaded policy and its reasons, and what it has counted with counter_add: " +
			"on the node that leads, which is the one that\nasks it, since that node last compiled it.",
		RunE: a.WithClient(func(ctx context.Context, c *client.Client, args []string) error {
			all, err := c.Policies(ctx)
			if err != nil {
				return err
			}
			p, err := modules.Pick(all.Policies, args[0])
			if err != nil {
				return err
			}
			fields := []term.Field{
				{"name", p.Name}, {"version", p.Version}, {"state", p.State}, {"digest", p.Digest},
				{"bytes", term.Count(p.Bytes)}, {"compiled on", strings.Join(p.Compiled, ",")},
				{"module", p.Module}, {"config", policies.ConfigText(p.Config)},
			}
			if len(p.Counters) > 0 {
				fields = append(fields, term.Field{"counted on " + p.CountedOn, author.CountersText(p.Counters)})
			}
			return term.Show(a.Terminal, p, append(fields, author.ReasonFields(p.Reasons)...))
		}),
	}
}
