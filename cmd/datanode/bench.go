package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/author"
	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/wire/rpcbench"
	"github.com/spf13/cobra"
)

const (
	// benchServer is the hidden command that a benchmark runs its server's process with.
	benchServer  = "rpc-server"
	defaultBench = 2 * time.Second
)

const benchRPCHelp = `Measure calls and streams between two processes over loopback, beside what the standard library
has to compare with. Needs no cell. Only what was measured in the same run compares; use an otherwise idle machine. The
comparison with gRPC, DRPC and yamux is in the source tree: cd wire/bench && go test -bench .`

func newBenchCommand(a app) *cobra.Command {
	return cli.Group("bench", "Measure how fast this machine is at what nodes do", "", newBenchRPCCommand(a),
		newBenchGetCommand(a), newBenchPutCommand(a), newBenchDeleteCommand(a),
		newBenchRepairCommand(a), newBenchLogCommand(a), newBenchLogReadCommand(a), newBenchDiskCommand(a),
		author.BenchCommand(a.App), newBenchServerCommand(a))
}

func newBenchRPCCommand(a app) *cobra.Command {
	var each time.Duration
	cmd := &cobra.Command{
		Use: "rpc", Short: "Measure calls and streams", Long: benchRPCHelp, Args: cli.Takes(0, 0),
		Example: "  datanode bench rpc --each 5s",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if each <= 0 {
				return exit.Usagef("--each %s: want more than 0", each)
			}
			ctx, cancel := a.Bounded(cmd.Context())
			defer cancel()
			return a.TimedOut(ctx, term.List(a.Terminal, a.measureRPC(ctx, each),
				term.Col("PEER", func(r rpcbench.Row) string { return r.Peer }),
				term.Col("RATE", benchRate),
				term.Col("P50", benchTime(func(c *rpcbench.Calls) time.Duration { return c.P50 })),
				term.Col("P99", benchTime(func(c *rpcbench.Calls) time.Duration { return c.P99 })),
				term.Col("CLIENT", benchSide(func(c *rpcbench.Calls) float64 { return c.ClientAllocs },
					func(i *rpcbench.Idle) uint64 { return i.Client })),
				term.Col("SERVER", benchSide(func(c *rpcbench.Calls) float64 { return c.ServerAllocs },
					func(i *rpcbench.Idle) uint64 { return i.Server })),
				term.Col("RATIO", benchRatio),
				term.Col("MEASUREMENT", benchWhat)))
		},
	}
	cmd.Flags().DurationVar(&each, "each", defaultBench, "how long each measurement takes")
	return cmd
}

// errMeasured says that nobody wants the rest of the rows.
var errMeasured = errors.New("enough was measured")

// measureRPC yields the rows as they are measured.
func (a app) measureRPC(ctx context.Context, each time.Duration) iter.Seq2[rpcbench.Row, error] {
	return func(yield func(rpcbench.Row, error) bool) {
		err := rpcbench.Run(ctx, startBenchServer, each, func(r rpcbench.Row) error {
			if term.IsTerminal(a.Stderr) {
				a.Note("%s: %s %s", r.Peer, r.What, benchRate(r))
			}
			if !yield(r, nil) {
				return errMeasured
			}
			return nil
		})
		if err != nil && !errors.Is(err, errMeasured) {
			yield(rpcbench.Row{}, err)
		}
	}
}

// startBenchServer runs this program once more, as the server of a peer.
func startBenchServer(ctx context.Context, peer string) (*rpcbench.Server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return rpcbench.Start(exec.CommandContext(ctx, self, "bench", benchServer, peer))
}

func newBenchServerCommand(a app) *cobra.Command {
	return &cobra.Command{
		Use: benchServer + " PEER", Short: "The other process of bench rpc", Hidden: true, Args: cli.Takes(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, ok := rpcbench.Find(rpcbench.Peers(), args[0])
			if !ok {
				return exit.Usagef("there is no peer %q", args[0])
			}
			return rpcbench.Serve(p, a.Stdin, a.Stdout)
		},
	}
}

func benchRate(r rpcbench.Row) string {
	switch {
	case r.Calls != nil:
		return fmt.Sprintf("%.0f/s", r.Calls.PerSecond)
	case r.Idle != nil:
		return "-"
	}
	return fmt.Sprintf("%.0fMB/s", r.BytesPerSecond/1e6)
}

func benchTime(of func(*rpcbench.Calls) time.Duration) func(rpcbench.Row) string {
	return func(r rpcbench.Row) string {
		if r.Calls == nil {
			return "-"
		}
		return of(r.Calls).Round(100 * time.Nanosecond).String()
	}
}

// benchSide is what one process spent: objects allocated for a call, or memory for what is idle.
func benchSide(calls func(*rpcbench.Calls) float64, idle func(*rpcbench.Idle) uint64) func(rpcbench.Row) string {
	return func(r rpcbench.Row) string {
		switch {
		case r.Calls != nil:
			return fmt.Sprintf("%.1f-allocs", calls(r.Calls))
		case r.Idle != nil:
			return fmt.Sprintf("%.1fMiB", float64(idle(r.Idle))/(1<<20))
		}
		return "-"
	}
}

func benchRatio(r rpcbench.Row) string {
	if r.Ratio == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", r.Ratio)
}

func benchWhat(r rpcbench.Row) string {
	if r.Of == "" {
		return r.What
	}
	return r.What + "; ratio to the " + r.Of
}
