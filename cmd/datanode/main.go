// Command datanode is a node of a cell, and the command line that operators and scripts use to talk
// to one.
//
// Data goes to stdout and all else to stderr. The names of commands and flags, the fields of
// -o json and the exit codes are a contract: see internal/exit.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/datanode/datanode/cmd/datanode/internal/author"
	"github.com/datanode/datanode/cmd/datanode/internal/cli"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv)) }

// run is the whole program. The first interrupt ends what runs in good order, a second one at once.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer, env func(string) string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return runContext(ctx, args, stdin, stdout, stderr, env)
}

// runContext is run without signals: the end of ctx stands for them.
func runContext(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer,
	env func(string) string) int {
	a := app{cli.New(stdin, stdout, stderr, env)}
	return a.Execute(ctx, newRootCommand(a), author.SingleDash(args))
}

// app is what all commands of this package share.
type app struct{ *cli.App }
