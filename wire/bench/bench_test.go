package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/datanode/datanode/wire/rpcbench"
)

// serveEnv makes the test binary the server of one peer instead of running tests.
const serveEnv = "DATANODE_BENCH_SERVE"

func TestMain(m *testing.M) {
	name := os.Getenv(serveEnv)
	if name == "" {
		os.Exit(m.Run())
	}
	p, ok := rpcbench.Find(peers(), name)
	if !ok {
		fmt.Fprintln(os.Stderr, "there is no peer", strconv.Quote(name))
		os.Exit(2)
	}
	if err := rpcbench.Serve(p, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// start runs the server of a peer until the benchmark ends.
func start(b *testing.B, name string) (rpcbench.Peer, *rpcbench.Server) {
	b.Helper()
	p, ok := rpcbench.Find(peers(), name)
	if !ok {
		b.Fatalf("there is no peer %q", name)
	}
	cmd := exec.CommandContext(context.WithoutCancel(b.Context()), os.Args[0])
	cmd.Env = append(os.Environ(), serveEnv+"="+name)
	s, err := rpcbench.Start(cmd)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return p, s
}

// BenchmarkCalls: 64 callers at once, each with one call after the other.
func BenchmarkCalls(b *testing.B) { eachPeer(b, 64) }

// BenchmarkOneCaller: the latency of a call that has the connection to itself.
func BenchmarkOneCaller(b *testing.B) { eachPeer(b, 1) }

func eachPeer(b *testing.B, callers int) {
	for _, name := range []string{"datanode", "grpc", "drpc", "yamux", "net-rpc"} {
		b.Run(name, func(b *testing.B) {
			p, s := start(b, name)
			c, err := rpcbench.MeasureCalls(b.Context(), p, s, callers, rpcbench.Limit{Calls: b.N})
			report(b, c, err)
		})
	}
}

// report replaces what the benchmark itself would say, which would count the connecting too.
func report(b *testing.B, c rpcbench.Calls, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
	micros := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	b.ReportMetric(1e9/c.PerSecond, "ns/op")
	b.ReportMetric(c.PerSecond, "calls/s")
	b.ReportMetric(micros(c.P50), "p50-µs")
	b.ReportMetric(micros(c.P99), "p99-µs")
	b.ReportMetric(c.ClientAllocs, "client-allocs/op")
	b.ReportMetric(c.ServerAllocs, "server-allocs/op")
}

// BenchmarkStream: one bulk stream beside a plain copy over the same kind of connection.
func BenchmarkStream(b *testing.B) {
	for _, name := range []string{"io-copy", "datanode", "crypto-tls", "datanode-tls"} {
		b.Run(name, func(b *testing.B) {
			p, s := start(b, name)
			rate, err := rpcbench.MeasureStream(b.Context(), p, s, time.Second) // whatever b.N is
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(rate/1e6, "MB/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkBeside: a client's call while repair saturates the same connection; in-their-session is what it would
// be without sessions.
func BenchmarkBeside(b *testing.B) {
	for _, v := range []struct {
		name    string
		streams int
		shared  bool
	}{{"nothing", 0, false}, {"1-stream", 1, false}, {"4-streams", 4, false}, {"4-streams-in-their-session", 4, true}} {
		b.Run(v.name, func(b *testing.B) {
			_, s := start(b, "datanode")
			c, err := rpcbench.MeasureBeside(b.Context(), s, v.streams, v.shared, rpcbench.Limit{Calls: b.N})
			report(b, c, err)
		})
	}
}

// BenchmarkIdle: what 10,000 idle calls on 100 connections take.
func BenchmarkIdle(b *testing.B) {
	_, s := start(b, "datanode")
	idle, err := rpcbench.MeasureIdle(b.Context(), s, 100, 100)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(idle.Client)/(1<<20), "client-MiB")
	b.ReportMetric(float64(idle.Server)/(1<<20), "server-MiB")
	b.ReportMetric(0, "ns/op")
}
