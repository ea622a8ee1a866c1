package main

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/policies/policytest/cases"
	"github.com/spf13/cobra"
)

const (
	// moduleNative and moduleDefault name the policies that need no file.
	moduleNative  = "native"
	moduleDefault = "default"

	maxCasesBytes = 16 << 20
)

// withPolicy compiles a module on this machine, as a node would, and gives it to f.
func (a *app) withPolicy(ctx context.Context, name string, f func(policies.Policy) error) error {
	module := plugins.Default()
	switch name {
	case moduleNative:
		return f(policies.Native())
	case moduleDefault:
	default:
		var err error
		if module, err = a.readWhole(ctx, name, maxModuleBytes); err != nil {
			return err
		}
	}
	host, err := newHost(ctx, nil, "")
	if err != nil {
		return err
	}
	defer host.Close(context.WithoutCancel(ctx))
	m, err := host.Compile(ctx, module)
	if err != nil {
		return err
	}
	defer m.Close(context.WithoutCancel(ctx))
	return f(m)
}

// checked is what policy check says of a module that is accepted.
type checked struct {
	Name    string   `json:"name"`
	Version string   `json:"version"`
	Digest  string   `json:"digest"`
	Reasons []string `json:"reasons"`
}

func newPolicyCheckCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "check MODULE.wasm", Short: "Put a module through the load gate, without a cell", Args: takes(1, 1),
		Long:    "Put a module through everything that a node would: structure, imports, limits, compiling, and a trial. Exit code 4 says that it would be refused, and why. native and default name the policies that are built in.",
		Example: "  datanode policy check mine.wasm\n  datanode policy check default -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := a.bounded(cmd.Context())
			defer cancel()
			return a.withPolicy(ctx, args[0], func(p policies.Policy) error {
				info := p.Info()
				fields := []field{{"name", info.Name}, {"version", info.Version}, {"digest", info.Digest}}
				return show(a, checked{info.Name, info.Version, info.Digest, info.Reasons}, append(fields, reasonFields(info.Reasons)...))
			})
		},
	}
}

// tested is one case of policy test.
type tested struct {
	File  string `json:"file"`
	Line  int    `json:"line"`
	Asked string `json:"asked"`
	Want  string `json:"want"`
	Got   string `json:"got"`
	OK    bool   `json:"ok"`
}

func newPolicyTestCommand(a *app) *cobra.Command {
	var rewrite bool
	cmd := &cobra.Command{
		Use: "test MODULE.wasm CASES ...", Short: "Hold a policy against cases written as text, without a cell", Args: takes(2, -1),
		Example: "  datanode policy test mine.wasm cases/*.txt\n  datanode policy test mine.wasm cases/*.txt --rewrite",
		Long:    "Hold a policy against files of cases, such as:\n\n  score repair live=1 want=3 waiting=10m -> 11060 repair: one live copy is left\n  conflict repair phase=running | delete -> supersede a delete ends the work on what it deletes\n\nnative and default name the policies that are built in.",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := a.bounded(cmd.Context())
			defer cancel()
			return a.withPolicy(ctx, args[0], func(p policies.Policy) error { return a.testPolicy(ctx, p, args[1:], rewrite) })
		},
	}
	cmd.Flags().BoolVar(&rewrite, "rewrite", false, "write the policy's answers into the files, for a diff to be read")
	return cmd
}

func (a *app) testPolicy(ctx context.Context, p policies.Policy, names []string, rewrite bool) error {
	var all []tested
	failed := 0
	for _, name := range names {
		outcomes, err := a.testFile(ctx, p, name, rewrite)
		if err != nil {
			return err
		}
		for _, o := range outcomes {
			all = append(all, tested{File: o.File, Line: o.Line, Asked: o.Asked, Want: o.Want, Got: o.Got, OK: o.OK()})
			if !o.OK() {
				failed++
			}
			if !o.OK() && a.output == outputTable && !rewrite {
				if err := a.print("%s", o); err != nil {
					return err
				}
			}
		}
	}
	if a.output != outputTable {
		if err := list[tested](a, items(all)); err != nil {
			return err
		}
	}
	switch {
	case rewrite:
		a.note("%d cases in %d files, %d answers rewritten", len(all), len(names), failed)
	case failed > 0:
		return fmt.Errorf("%d of %d cases got another answer", failed, len(all))
	default:
		a.note("%d cases in %d files, all as wanted", len(all), len(names))
	}
	return nil
}

func (a *app) testFile(ctx context.Context, p policies.Policy, name string, rewrite bool) ([]cases.Outcome, error) {
	text, err := a.readWhole(ctx, name, maxCasesBytes)
	if err != nil {
		return nil, err
	}
	file, err := cases.Parse(name, text)
	if err != nil {
		return nil, usagef("%w", err)
	}
	outcomes, err := file.Run(ctx, p)
	if err != nil || !rewrite {
		return outcomes, err
	}
	if after := file.Rewrite(outcomes); !bytes.Equal(after, text) {
		err = os.WriteFile(name, after, newFileMode(name))
	}
	return outcomes, err
}
