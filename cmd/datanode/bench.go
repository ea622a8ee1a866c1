package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"time"

	"github.com/datanode/datanode/wire/rpcbench"
	"github.com/spf13/cobra"
)

const (
	// benchServer is the hidden command that a benchmark runs its server's process with.
	benchServer  = "rpc-server"
	defaultBench = 2 * time.Second
)

const benchRPCHelp = `Measure calls and streams between two processes over loopback, beside what the standard library has to
compare with. Needs no cell. Only what was measured in the same run compares; use an otherwise idle machine.
The comparison with gRPC, DRPC and yamux is in the source tree: cd wire/bench && go test -bench .`

func newBenchCommand(a *app) *cobra.Command {
	return group("bench", "Measure how fast this machine is at what nodes do", "", newBenchRPCCommand(a), newBenchGetCommand(a), newBenchPolicyCommand(a), newBenchServerCommand(a))
}

func newBenchRPCCommand(a *app) *cobra.Command {
	var each time.Duration
	cmd := &cobra.Command{
		Use: "rpc", Short: "Measure calls and streams", Long: benchRPCHelp, Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if each <= 0 {
				return usagef("--each %s: want more than 0", each)
			}
			ctx, cancel := a.bounded(cmd.Context())
			defer cancel()
			return a.timedOut(ctx, list(a, a.measureRPC(ctx, each),
				column[rpcbench.Row]{"PEER", func(r rpcbench.Row) string { return r.Peer }},
				column[rpcbench.Row]{"RATE", benchRate},
				column[rpcbench.Row]{"P50", benchTime(func(c *rpcbench.Calls) time.Duration { return c.P50 })},
				column[rpcbench.Row]{"P99", benchTime(func(c *rpcbench.Calls) time.Duration { return c.P99 })},
				column[rpcbench.Row]{"CLIENT", benchSide(func(c *rpcbench.Calls) float64 { return c.ClientAllocs }, func(i *rpcbench.Idle) uint64 { return i.Client })},
				column[rpcbench.Row]{"SERVER", benchSide(func(c *rpcbench.Calls) float64 { return c.ServerAllocs }, func(i *rpcbench.Idle) uint64 { return i.Server })},
				column[rpcbench.Row]{"RATIO", benchRatio},
				column[rpcbench.Row]{"MEASUREMENT", benchWhat}))
		},
	}
	cmd.Flags().DurationVar(&each, "each", defaultBench, "how long each measurement takes")
	return cmd
}

const benchPolicyHelp = `Measure the native default, the same rules as a module, and further modules, in turns. As policy bench does for one; RATIO is
to the last one named, the native default. Needs no cell. The comparison with CEL and Rego is in the source tree:
cd plugins/bench && go test -bench .

`

func newBenchPolicyCommand(a *app) *cobra.Command {
	var each time.Duration
	cmd := &cobra.Command{
		Use: "policy [MODULE ...]", Short: "Measure what decisions take", Long: benchPolicyHelp + moduleHelp, Args: takes(0, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if each <= 0 {
				return usagef("--each %s: want more than 0", each)
			}
			ctx, cancel := a.bounded(cmd.Context())
			defer cancel()
			names := append(append([]string{moduleDefault}, args...), moduleNative)
			return a.timedOut(ctx, a.benchPolicies(ctx, names, offline{}, each))
		},
		ValidArgsFunction: completeModules,
	}
	cmd.Flags().DurationVar(&each, "each", defaultPolicyBench, "how long each line is measured")
	return cmd
}

// errMeasured says that nobody wants the rest of the rows.
var errMeasured = errors.New("enough was measured")

// measureRPC yields the rows as they are measured.
func (a *app) measureRPC(ctx context.Context, each time.Duration) iter.Seq2[rpcbench.Row, error] {
	return func(yield func(rpcbench.Row, error) bool) {
		err := rpcbench.Run(ctx, startBenchServer, each, func(r rpcbench.Row) error {
			if terminal(a.stderr) {
				a.note("%s: %s %s", r.Peer, r.What, benchRate(r))
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

func newBenchServerCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: benchServer + " PEER", Short: "The other process of bench rpc", Hidden: true, Args: takes(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, ok := rpcbench.Find(rpcbench.Peers(), args[0])
			if !ok {
				return usagef("there is no peer %q", args[0])
			}
			return rpcbench.Serve(p, a.stdin, a.stdout)
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
