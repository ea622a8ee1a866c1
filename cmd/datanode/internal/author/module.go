// Package author is the commands of somebody who writes a policy: new, build, check, test and bench. None needs a
// cell. A policy is compiled and asked as a node would, by way of package policyhost; a command starts no
// goroutine of its own.
package author

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/policyhost"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/policies"
)

const (
	// moduleNative and moduleDefault name the policies that need no file.
	moduleNative  = "native"
	moduleDefault = "default"
)

// tools are the commands, with what they share with all others.
type tools struct{ *cli.App }

// Commands are those of an author: they need no cell.
func Commands(a *cli.App) []*cobra.Command {
	t := tools{a}
	return []*cobra.Command{
		newPolicyNewCommand(t), newPolicyBuildCommand(t), newPolicyCheckCommand(t), newPolicyTestCommand(t),
		newPolicyBenchCommand(t),
	}
}

const moduleHelp = `MODULE is a .wasm file, - for standard input, or a folder (by default this one), which is built
first. native and default name the policies that are built in.`

func digestOf(module []byte) string {
	sum := sha256.Sum256(module)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// moduleOf reads or builds what a command was given as MODULE. There are no bytes for the native policy.
func (a tools) moduleOf(ctx context.Context, name string) ([]byte, error) {
	switch name {
	case moduleNative:
		return nil, nil
	case moduleDefault:
		return plugins.Default(), nil
	}
	if !IsDir(name) {
		return ReadModule(ctx, a.Terminal, name)
	}
	return a.moduleIn(ctx, name)
}

// ReadModule reads a module. One that is too large is refused as the gate would.
func ReadModule(ctx context.Context, t *term.Terminal, name string) ([]byte, error) {
	in, _, err := t.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	module, err := io.ReadAll(io.LimitReader(in, plugins.MaxModuleBytes+1))
	if err != nil {
		return nil, err
	}
	return module, plugins.CheckSize(len(module))
}

// moduleIn builds the policy in a folder, and leaves nothing in it.
func (a tools) moduleIn(ctx context.Context, dir string) (module []byte, err error) {
	temp, err := os.MkdirTemp("", "policy-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	out := filepath.Join(temp, "policy"+moduleSuffix)
	if term.IsTerminal(a.Stderr) {
		a.Note("building %s ...", dir)
	}
	if _, err := a.compile(ctx, dir, out); err != nil {
		return nil, err
	}
	return ReadModule(ctx, a.Terminal, out)
}

func IsDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// withHost gives f a host that compiles as a node does, in a child process, and holds policies to a budget. What
// they log there goes to stderr.
func (a tools) withHost(ctx context.Context, b policies.Budget, f func(*plugins.Host) error) error {
	host, err := policyhost.NewWithin(ctx, b, slog.New(slog.NewTextHandler(a.Stderr,
		&slog.HandlerOptions{ReplaceAttr: untimed})), "")
	if err != nil {
		return err
	}
	defer host.Close(context.WithoutCancel(ctx))
	return f(host)
}

// untimed leaves out what says nothing in a command that ends at once.
func untimed(groups []string, at slog.Attr) slog.Attr {
	if len(groups) == 0 && (at.Key == slog.TimeKey || at.Key == "digest") {
		return slog.Attr{}
	}
	return at
}

// withPolicy compiles a module and gives it to f; the native policy for no bytes.
func withPolicy(ctx context.Context, h *plugins.Host, module []byte, config map[string]string,
	f func(policies.Policy) error) error {
	if err := policies.CheckConfig(config); err != nil {
		return exit.Usagef("%w", err)
	}
	if module == nil {
		return f(policies.Native())
	}
	m, err := h.CompileWith(ctx, module, config)
	if err != nil {
		return err
	}
	defer m.Close(context.WithoutCancel(ctx))
	if err := policies.CheckConfigSchema(m.ConfigSchema(), config); err != nil {
		return exit.Usagef("%w", err)
	}
	return f(m)
}

// CompleteModules completes files that can be modules, and folders.
func CompleteModules(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return []string{strings.TrimPrefix(moduleSuffix, ".")}, cobra.ShellCompDirectiveFilterFileExt
}

// argOr is the argument, or what stands for none.
func argOr(args []string, none string) string {
	if len(args) == 0 {
		return none
	}
	return args[0]
}
