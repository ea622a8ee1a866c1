package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// app is what all commands share: the streams, the environment and the flags of the root.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(string) string

	addr     string
	output   string
	timeout  time.Duration
	tlsFiles pki.Files

	moved atomic.Int64             // when a bar last moved, in nanoseconds since 1970
	bar   atomic.Pointer[progress] // that is shown now; nil for none
}

const (
	envAddr = "DATANODE_ADDR"

	outputTable = "table"
	outputJSON  = "json"
	outputLines = "jsonl"
)

// note tells the person something. It is never data. A stderr that cannot be written to is no reason
// to fail.
func (a *app) note(format string, args ...any) {
	_, _ = io.WriteString(a.stderr, printf(printableLines, format+"\n", args...))
}

// terminal tells whether a stream is one that a person sits at.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// addrs are the addresses to try: the flag's, else the environment's, else the default.
func (a *app) addrs() []string {
	list := a.addr
	if list == "" {
		list = a.env(envAddr)
	}
	var addrs []string
	for _, s := range strings.Split(list, ",") {
		if s = strings.TrimSpace(s); s != "" {
			addrs = append(addrs, s)
		}
	}
	return addrs
}

// check looks at the flags of the root before any command runs.
func (a *app) check() error {
	switch a.output {
	case outputTable, outputJSON, outputLines:
	default:
		return usagef("-o %s: want %s, %s or %s", a.output, outputTable, outputJSON, outputLines)
	}
	if a.timeout < 0 {
		return usagef("--timeout %s: want more than 0", a.timeout)
	}
	for _, addr := range a.addrs() {
		if err := checkAddr(addr); err != nil {
			return usagef("--addr (or %s): %w", envAddr, err)
		}
	}
	return nil
}

// withClient makes a command's function of one that uses a client.
func (a *app) withClient(f func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx, cancel := a.bounded(cmd.Context())
		defer cancel()
		certificate, err := a.tls()
		if err != nil {
			return err
		}
		c := client.New(client.Options{Addrs: a.addrs(), TLS: certificate, Name: "datanode " + cmd.Name(), Waiting: a.waiting()})
		defer c.Close()
		return a.timedOut(ctx, f(ctx, c, args))
	}
}

// timedOut is err, told as what it is when --timeout was up.
func (a *app) timedOut(ctx context.Context, err error) error {
	coded := (*codedError)(nil)
	if err == nil || errors.As(err, &coded) || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return err
	}
	return withCode(exitUnavailable, "gave up after --timeout %s: %w", a.timeout, err)
}

// bounded ends after --timeout, if there is one.
func (a *app) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, a.timeout)
}

// nodeAddr is the address of a node by ID; empty for empty.
func nodeAddr(ctx context.Context, c *client.Client, id string) (string, error) {
	if id == "" {
		return "", nil
	}
	n, err := findNode(ctx, c, id)
	return n.Addr, err
}

// ofNode names the node that a call was for, if it was for one.
func ofNode(id string, err error) error {
	if id == "" {
		return err
	}
	return fmt.Errorf("%s: %w", id, err)
}
