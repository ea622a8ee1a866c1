// Command datanode is a node of a cell, and the command line that operators and scripts use to talk
// to one.
//
// Data goes to stdout and all else to stderr. The names of commands and flags, the fields of
// -o json and the exit codes are a contract: see exit.go.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
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
func runContext(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env func(string) string) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, env: env}
	root := newRootCommand(a)
	root.SetArgs(singleDash(args))
	err := root.ExecuteContext(ctx)
	if err != nil {
		a.note("datanode: %s", oneLine(explainError(ctx, err)))
	}
	return exitCode(ctx, err)
}
