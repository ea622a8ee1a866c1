// Package cli is what the commands share: the flags of the root and what they come to, groups of commands, how one
// command line is run, and questions that several commands ask of a cell. It starts no goroutine; an App belongs to
// the goroutine of its command.
package cli

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

// App is what all commands share: a terminal, the environment and the flags of the root.
type App struct {
	*term.Terminal
	Env func(string) string

	Addr     string        // as typed; see Addrs
	Timeout  time.Duration // of the command; 0 for none
	TLSFiles pki.Files     // as typed; see TLS
}

// EnvAddr is the variable that stands for --addr.
const EnvAddr = "DATANODE_ADDR"

// Addrs are the addresses to try: the flag's, else the environment's, else the default.
func (a *App) Addrs() []string {
	list := a.Addr
	if list == "" {
		list = a.Env(EnvAddr)
	}
	var addrs []string
	for _, s := range strings.Split(list, ",") {
		if s = strings.TrimSpace(s); s != "" {
			addrs = append(addrs, s)
		}
	}
	return addrs
}

// Check looks at the flags of the root before any command runs.
func (a *App) Check() error {
	switch a.Output {
	case term.FormatTable, term.FormatJSON, term.FormatLines:
	default:
		return exit.Usagef("-o %s: want %s, %s or %s", a.Output, term.FormatTable, term.FormatJSON, term.FormatLines)
	}
	if a.Timeout < 0 {
		return exit.Usagef("--timeout %s: want more than 0", a.Timeout)
	}
	for _, addr := range a.Addrs() {
		if err := CheckAddr(addr); err != nil {
			return exit.Usagef("--addr (or %s): %w", EnvAddr, err)
		}
	}
	return nil
}

// ClientCommand is a command that asks a cell.
type ClientCommand func(ctx context.Context, c *client.Client, args []string) error

// WithClient makes a command's function of one that uses a client.
func (a *App) WithClient(f ClientCommand) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx, cancel := a.Bounded(cmd.Context())
		defer cancel()
		certificate, err := a.TLS()
		if err != nil {
			return err
		}
		c := client.New(client.Options{Addrs: a.Addrs(), TLS: certificate, Name: "datanode " + cmd.Name(),
			Waiting: a.Waiting()})
		defer c.Close()
		return a.TimedOut(ctx, f(ctx, c, args))
	}
}

// TimedOut is err, reported as what it is when --timeout was up.
func (a *App) TimedOut(ctx context.Context, err error) error {
	coded := (*exit.Error)(nil)
	if err == nil || errors.As(err, &coded) || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return err
	}
	return exit.With(exit.Unavailable, "gave up after --timeout %s: %w", a.Timeout, err)
}

// Bounded ends after --timeout, if there is one.
func (a *App) Bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.Timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, a.Timeout)
}
