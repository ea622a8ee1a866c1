package main

import (
	"net"
	"slices"
	"strings"

	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

const rootHelp = `datanode stores extents on several machines and lets nothing happen to them out of order.

  datanode dev                     start a cell of three nodes on this machine
  datanode put FILE                store a file; prints its locator
  datanode get LOCATOR -f FILE     read it back
  datanode op explain ID           what was decided about an operation, and why

Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 refused, 5 unavailable, 6 corruption found, 130 interrupted.`

func newRootCommand(a *app) *cobra.Command {
	root := group("datanode", "Store extents in a cell, and see why everything happens", rootHelp,
		newDevCommand(a), newServeCommand(a),
		newDemoCommand(a),
		newPutCommand(a), newGetCommand(a), newRemoveCommand(a),
		newExtentCommand(a), newOpCommand(a), newNodeCommand(a), newPolicyCommand(a), newLogCommand(a),
		newSettingsCommand(a), newConnsCommand(a), newStatusCommand(a), newHealthCommand(a), newRecoverCommand(a), newCertCommand(a),
		newBenchCommand(a), newVersionCommand(a), newPolicyCompileCommand(a))
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see %s --help", err, cmd.CommandPath())
	})
	flags := root.PersistentFlags()
	flags.StringVar(&a.addr, "addr", "", "nodes to talk to, HOST:PORT[,…] (env "+envAddr+", default "+client.DefaultAddr+")")
	flags.StringVarP(&a.output, "output", "o", outputTable, "table, json or jsonl")
	flags.DurationVar(&a.timeout, "timeout", 0, "give up after this long, such as 30s (default: no limit)")
	tlsFlags(flags.StringVar, &a.tlsFiles)
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if f := cmd.Flags(); f.Changed("wait") && f.Changed("no-wait") {
			return usagef("--wait and --no-wait: want one of them")
		}
		return a.check()
	}
	return root
}

// group is a command that only has others.
func group(use, short, long string, cmds ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Args: cobra.ArbitraryArgs, RunE: func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			cmd.SetOut(cmd.ErrOrStderr())
			_ = cmd.Help() // what it says is the error below, in short
			return usagef("%s needs a command", cmd.CommandPath())
		}
		hint := ""
		cmd.SuggestionsMinimumDistance = max(min(2, len(args[0])/2), 1)
		if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
			slices.Sort(like)
			hint = "; did you mean " + strings.Join(like, " or ") + "?"
		}
		return usagef("there is no command %s %s%s; see %s --help", cmd.CommandPath(), args[0], hint, cmd.CommandPath())
	}}
	cmd.AddCommand(cmds...)
	return cmd
}

// takes checks the number of arguments; most < 0 is any number.
func takes(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && (most < 0 || len(args) <= most) {
			return nil
		}
		return usagef("%d arguments; usage: %s", len(args), cmd.UseLine())
	}
}

// checkAddr tells whether addr is HOST:PORT.
func checkAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" || port == "" {
		return usagef("%q is not HOST:PORT, such as 127.0.0.1:7400", addr)
	}
	return nil
}
