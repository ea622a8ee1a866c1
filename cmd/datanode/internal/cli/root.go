package cli

import (
	"context"
	"io"
	"strings"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

// New is an App over these streams.
func New(stdin io.Reader, stdout, stderr io.Writer, env func(string) string) *App {
	return &App{Terminal: &term.Terminal{Stdin: stdin, Stdout: stdout, Stderr: stderr, Output: term.FormatTable}, Env: env}
}

// Root is the command that has all others, with the flags that they share.
func (a *App) Root(use, short, long string, cmds ...*cobra.Command) *cobra.Command {
	root := Group(use, short, long, cmds...)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetIn(a.Stdin)
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return exit.Usagef("%w; see %s --help", err, cmd.CommandPath())
	})
	flags := root.PersistentFlags()
	flags.StringVar(&a.Addr, "addr", "",
		"nodes to talk to, HOST:PORT[,…] (env "+EnvAddr+", default "+client.DefaultAddr+")")
	flags.StringVarP(&a.Output, "output", "o", term.FormatTable, "table, json or jsonl")
	flags.DurationVar(&a.Timeout, "timeout", 0, "give up after this long, such as 30s (default: no limit)")
	TLSFlags(flags.StringVar, &a.TLSFiles)
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if f := cmd.Flags(); f.Changed("wait") && f.Changed("no-wait") {
			return exit.Usagef("--wait and --no-wait: want one of them")
		}
		return a.Check()
	}
	return root
}

// Execute runs a command line to its end, says what went wrong, and gives the exit code.
func (a *App) Execute(ctx context.Context, root *cobra.Command, args []string) int {
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil && strings.Contains(err.Error(), "flags in the group [") { // cobra v1's own words
		err = exit.Usagef("%w; see --help", err)
	}
	if err != nil {
		a.Note("datanode: %s", term.OneLine(exit.Explain(ctx, err)))
	}
	return exit.Code(ctx, err)
}
