// Package policyhost joins nodes to what compiles and runs policies, so that package node need not know it. Modules
// are compiled in a child process, which is this very program under another command; see ChildCommand. A host may be
// used by any goroutine.
package policyhost

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/node/modules"
	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// nodeHost lets a node compile modules without knowing what compiles them.
type nodeHost struct{ host *plugins.Host }

var (
	_ modules.Metered = (*plugins.Module)(nil)
	_ modules.Closer  = (*plugins.Module)(nil)
	_ modules.Counted = (*plugins.Module)(nil)
)

// Compile gives a module's policy. A module or configuration that is refused is the caller's mistake, not
// ours, and the error says so across the wire.
func (p nodeHost) Compile(
	ctx context.Context, module []byte, config map[string]string, b policies.Budget,
) (policies.Policy, error) {
	m, err := p.host.CompileWith(ctx, module, config)
	if err == nil {
		if err = m.Fits(b); err != nil {
			_ = m.Close(ctx) // err says more
		}
	}
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

// ChildCommand is the hidden command that makes this program the child which compiles modules.
const ChildCommand = "policy-compile"

// CacheDir is the folder within a node's data folder for compiled policies. It may be removed at any
// time; what is in it is then compiled again.
const CacheDir = "compiled-policies"

// CallTimeout is how long a policy is waited for that is asked about a batch. Settings allow no budget that could
// take longer.
const CallTimeout = time.Second

// New starts a host for nodes. It tries policies out within the most that settings can allow, so that
// what it has compiled stays good when they change, and holds each call to what they allow then.
func New(ctx context.Context, logger *slog.Logger, cacheDir string) (*plugins.Host, error) {
	return NewWithin(ctx, state.MostBudget(), logger, cacheDir)
}

// NewWithin starts a host whose child is this program. Compiled modules are kept in cacheDir, or as long as
// the host lives if that is empty.
func NewWithin(
	ctx context.Context, b policies.Budget, logger *slog.Logger, cacheDir string,
) (*plugins.Host, error) {
	o := plugins.Options{Logger: logger, CacheDir: cacheDir, Budget: b, Timeout: CallTimeout}
	program, err := os.Executable()
	if runtime.GOOS == "linux" {
		program, err = "/proc/self/exe", nil // this very program, also after it was replaced by a newer one
	}
	if err != nil {
		return nil, err
	}
	o.Child = []string{program, ChildCommand}
	return plugins.New(ctx, o)
}

// For is the host as a node wants it.
func For(host *plugins.Host) modules.Host { return nodeHost{host} }

// Command is the command line of the child.
func Command(a *cli.App) *cobra.Command {
	return &cobra.Command{
		Use: ChildCommand, Short: "Compile and try a policy in this process, for a node", Args: cli.Takes(0, 0), Hidden: true,
		RunE: func(*cobra.Command, []string) error {
			if code := plugins.ChildMain(a.Stdin, a.Stdout); code != 0 {
				return exit.With(exit.Failed, "the node has gone")
			}
			return nil
		},
	}
}
