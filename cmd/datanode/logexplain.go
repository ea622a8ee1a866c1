package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/datanode/datanode/cmd/datanode/internal/author"
	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/logs"
	"github.com/datanode/datanode/cmd/datanode/internal/policyhost"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/node/modules"
	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/spf13/cobra"
)

const explainHelp = `Tell the story of an operation from request to end: who asked for it, what was decided by which
policy from which facts, which conflicts there were and how they were settled, what it waited for and how long, each
attempt with its fence, and what became of it. Of an extent or a node: all operations on it, what else happened to it,
and what is still to come, such as when a repair is due.

--rerun asks the policy again, from the recorded facts, and says whether it decides the same; exit code 1 says that it
does not. The policy is that of the recorded digest: built into this program, or from the folder that --dir names.
--policy MODULE.wasm, or native, asks another one, with the configuration in --config.`

func newLogExplainCommand(a app) *cobra.Command {
	var source logSource
	var again rerun
	var extent uint64
	cmd := &cobra.Command{
		Use: "explain OP | NODE | --extent N", Short: "Tell the story of an operation, an extent or a node",
		Long: explainHelp, Args: cli.Takes(0, 1),
		Example: "  datanode log explain 4711\n  datanode log explain n4 --dir /srv/n1\n" +
			"  datanode log explain --extent 12 -o json\n  datanode log explain 4711 --dir /srv/n1 --rerun",
		RunE: source.with(a, func(ctx context.Context, s logs.Source, args []string) error {
			q, err := questionOf(args, extent)
			if err != nil {
				return err
			}
			if again.policy != "" || len(again.config) > 0 {
				again.wanted = true
			}
			x, err := logs.Explain(ctx, s, q)
			if err != nil {
				return err
			}
			agrees := true
			if again.wanted {
				if agrees, err = again.run(ctx, s, x); err != nil {
					return err
				}
			}
			if err := printExplanation(a, x); err != nil {
				return err
			}
			if !agrees {
				return exit.With(exit.Failed, "asked again, the policy decides otherwise")
			}
			return nil
		}),
	}
	source.flags(cmd)
	cmd.Flags().Uint64Var(&extent, "extent", 0, "an extent, by number")
	cmd.Flags().BoolVar(&again.wanted, "rerun", false, "ask the policy again, and say whether it decides the same")
	cmd.Flags().StringVar(&again.policy, "policy", "", "ask this one: a module, or native (implies --rerun)")
	cmd.Flags().StringArrayVar(&again.config, "config", nil,
		"KEY=VALUE for the module in --policy; may be given several times")
	return cmd
}

// questionOf is what is to be explained.
func questionOf(args []string, extent uint64) (logs.Question, error) {
	switch {
	case (len(args) == 0) == (extent == 0):
		return logs.Question{}, exit.Usagef("log explain needs an operation, as op ls shows it, or a node, or --extent N")
	case extent != 0:
		return logs.Question{Extent: extent}, nil
	case args[0] == "":
		return logs.Question{}, exit.Usagef("log explain: an empty name; want an operation, such as 4711, or a node")
	}
	op, err := state.ParseOpID(args[0])
	if err == nil {
		return logs.Question{Op: op}, nil
	}
	if strings.Trim(args[0], "0123456789.") == "" {
		return logs.Question{}, exit.Usagef("%w", err)
	}
	return logs.Question{Node: args[0]}, nil
}

func printExplanation(a app, x *logs.Explanation) error {
	if a.Output != term.FormatTable {
		return term.Show(a.Terminal, x, nil)
	}
	for _, line := range x.Sentences {
		if err := a.Print("%s", term.OneLine(line)); err != nil {
			return err
		}
	}
	return nil
}

// rerun is how decisions are made again.
type rerun struct {
	wanted bool
	policy string
	config []string
}

// run makes the decisions of an explanation again, and reports whether all agree.
func (r *rerun) run(ctx context.Context, s logs.Source, x *logs.Explanation) (agrees bool, err error) {
	host, err := policyhost.New(ctx, slog.New(slog.DiscardHandler), "")
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, host.Close(context.WithoutCancel(ctx))) }()
	known := make(map[string]policies.Policy)
	return x.Rerun(ctx, func(ctx context.Context, o *logs.Account) (policies.Policy, error) {
		digest := o.Decision.Digest
		if r.policy != "" {
			digest = r.policy
		}
		if p := known[digest]; p != nil {
			return p, nil
		}
		p, err := r.compile(ctx, host, s, o)
		known[digest] = p
		return p, err
	})
}

// compile is the policy to ask about an operation.
func (r *rerun) compile(
	ctx context.Context, host *plugins.Host, s logs.Source, o *logs.Account,
) (policies.Policy, error) {
	native := policies.Native()
	switch {
	case r.policy == "native" || r.policy == "" && o.Decision.Digest == native.Info().Digest:
		return native, nil
	case r.policy != "":
		config, err := author.ParseConfig(r.config)
		if err != nil {
			return nil, err
		}
		module, err := os.ReadFile(r.policy)
		if err != nil {
			return nil, exit.File(err)
		}
		return host.CompileWith(ctx, module, config)
	}
	digest, config := o.Decision.Digest, o.Decision.Config
	if load := o.Loaded(); load != nil {
		digest, config = load.ModuleDigest(), load.Config
	}
	module, err := moduleFrom(s, digest)
	if err != nil {
		return nil, err
	}
	return host.CompileWith(ctx, module, config)
}

// moduleFrom finds a module by its digest: in this program, or in the folder that is read.
func moduleFrom(s logs.Source, digest string) ([]byte, error) {
	if module := plugins.Default(); modules.DigestOf(module) == digest {
		return module, nil
	}
	folder, ok := s.(*logs.Folder)
	if !ok {
		return nil, exit.With(exit.NotFound, "the module of policy %s is not in this program; read the folder of a stopped "+
			"node, which has it (--dir), or give it with --policy MODULE.wasm", digest)
	}
	path := filepath.Join(filepath.Dir(folder.Dir()), "policies", strings.TrimPrefix(digest, "sha256:")+".wasm")
	module, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, exit.With(exit.NotFound, "%s does not have the module of policy %s; give it with --policy MODULE.wasm",
			folder.Name, digest)
	case err != nil:
		return nil, err
	case modules.DigestOf(module) != digest:
		return nil, exit.With(exit.Corrupt, "%s is not what it was: its digest is %s", path, modules.DigestOf(module))
	}
	return module, nil
}
