package cli

import (
	"net"
	"slices"
	"strings"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/spf13/cobra"
)

// Group is a command that only has others.
func Group(use, short, long string, cmds ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				cmd.SetOut(cmd.ErrOrStderr())
				_ = cmd.Help() // what it says is the error below, in short
				return exit.Usagef("%s needs a command", cmd.CommandPath())
			}
			hint := ""
			cmd.SuggestionsMinimumDistance = max(min(2, len(args[0])/2), 1)
			if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
				slices.Sort(like)
				hint = "; did you mean " + strings.Join(like, " or ") + "?"
			}
			return exit.Usagef("there is no command %s %s%s; see %s --help", cmd.CommandPath(), args[0], hint, cmd.CommandPath())
		}}
	cmd.AddCommand(cmds...)
	return cmd
}

// Takes checks the number of arguments; most < 0 is any number.
func Takes(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && (most < 0 || len(args) <= most) {
			return nil
		}
		return exit.Usagef("%d arguments; usage: %s", len(args), cmd.UseLine())
	}
}

// CheckAddr reports whether addr is HOST:PORT.
func CheckAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" || port == "" {
		return exit.Usagef("%q is not HOST:PORT, such as 127.0.0.1:7400", addr)
	}
	return nil
}
