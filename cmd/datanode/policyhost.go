package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"

	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
	"github.com/spf13/cobra"
)

// policyHost lets a node compile modules without knowing what compiles them.
type policyHost struct{ host *plugins.Host }

// Compile gives a module's policy. A module or configuration that is refused is the caller's mistake, not
// ours, and the error says so across the wire.
func (p policyHost) Compile(ctx context.Context, module []byte, config map[string]string) (policies.Policy, error) {
	m, err := p.host.CompileWith(ctx, module, config)
	if refused := (*plugins.LoadError)(nil); errors.As(err, &refused) {
		return nil, wire.Errorf(wire.OpPolicyLoad, wire.CodeEnvelope, "%s", refused.Error())
	}
	if err != nil {
		return nil, err
	}
	if err := policies.CheckConfigSchema(m.ConfigSchema(), config); err != nil {
		return nil, errors.Join(wire.Errorf(wire.OpPolicyLoad, wire.CodeInvalid, "%v", err), m.Close(ctx))
	}
	return m, nil
}

// compileCommand is the hidden command that makes this program the child which compiles modules.
const compileCommand = "policy-compile"

// compiledDir is the folder within a node's data folder for compiled policies. It may be removed at any
// time; what is in it is then compiled again.
const compiledDir = "compiled-policies"

// newHost starts a host whose child is this program. Compiled modules are kept in cacheDir, or as long as
// the host lives if that is empty.
func newHost(ctx context.Context, logger *slog.Logger, cacheDir string) (*plugins.Host, error) {
	o := plugins.Options{Logger: logger, CacheDir: cacheDir}
	program, err := os.Executable()
	if runtime.GOOS == "linux" {
		program, err = "/proc/self/exe", nil // this very program, also after it was replaced by a newer one
	}
	if err != nil {
		return nil, err
	}
	o.Child = []string{program, compileCommand}
	return plugins.New(ctx, o)
}

func newPolicyCompileCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: compileCommand, Short: "Compile and try a policy in this process, for a node", Args: takes(0, 0), Hidden: true,
		RunE: func(*cobra.Command, []string) error {
			if code := plugins.ChildMain(a.stdin, a.stdout); code != 0 {
				return withCode(exitFailed, "the node has gone")
			}
			return nil
		},
	}
}
