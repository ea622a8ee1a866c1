package bench

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const payloadBytes = 1 << 10

// BenchmarkCalls: 64 callers at once, each with one call after the other.
func BenchmarkCalls(b *testing.B) { eachPeer(b, 64) }

// BenchmarkOneCaller: the latency of a call that has the connection to itself.
func BenchmarkOneCaller(b *testing.B) { eachPeer(b, 1) }

func eachPeer(b *testing.B, callers int) {
	for _, name := range []string{"datanode", "grpc", "drpc", "yamux", "net-rpc"} {
		b.Run(name, func(b *testing.B) { benchCalls(b, name, callers) })
	}
}

func benchCalls(b *testing.B, name string, callers int) {
	p := peers()[name]
	addr := start(b, name)
	calls := make([]caller, callers)
	for i := range calls {
		if i > 0 && !p.perCaller {
			calls[i] = calls[0]
			continue
		}
		call, conn, err := p.dial(b.Context(), addr)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		calls[i] = call
	}
	b.ReportAllocs()
	b.ResetTimer()
	took := run(b, calls)
	b.StopTimer()
	report(b, took)
}

// run makes b.N calls, shared out among the callers, and answers how long each took.
func run(b *testing.B, calls []caller) []time.Duration {
	took := make([]time.Duration, b.N)
	var next atomic.Int64
	var wg sync.WaitGroup
	for _, call := range calls {
		wg.Add(1)
		go func() {
			defer wg.Done()
			payload := make([]byte, payloadBytes)
			for {
				i := next.Add(1) - 1
				if i >= int64(b.N) {
					return
				}
				begin := time.Now()
				if err := call(b.Context(), payload); err != nil {
					b.Error(err)
					return
				}
				took[i] = time.Since(begin)
			}
		}()
	}
	wg.Wait()
	return took
}

func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	at := func(q float64) float64 {
		return float64(took[min(len(took)-1, int(q*float64(len(took))))].Nanoseconds()) / 1000
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	b.ReportMetric(at(0.5), "p50-µs")
	b.ReportMetric(at(0.99), "p99-µs")
}
