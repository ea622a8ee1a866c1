package rpcbench

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Limit ends a measurement after so many calls or so long, whatever comes first; 0: no such limit.
type Limit struct {
	Calls int
	For   time.Duration
}

// Calls is what was measured of a peer's calls.
type Calls struct {
	Calls        int           `json:"calls"`
	PerSecond    float64       `json:"calls_per_second"`
	P50          time.Duration `json:"p50_ns"`
	P99          time.Duration `json:"p99_ns"`
	Max          time.Duration `json:"max_ns"`
	ClientAllocs float64       `json:"client_allocs_per_call"` // objects allocated by the whole process
	ServerAllocs float64       `json:"server_allocs_per_call"`
}

// MeasureCalls makes calls to a server of p from so many callers at once, each with one call after the other.
func MeasureCalls(ctx context.Context, p Peer, s *Server, callers int, limit Limit) (Calls, error) {
	calls, closeAll, err := dialAll(ctx, p, s.Addr, callers)
	defer func() { _ = closeAll() }() // the measurement is over
	if err != nil {
		return Calls{}, err
	}
	return measure(ctx, s, calls, limit)
}

func dialAll(ctx context.Context, p Peer, addr string, callers int) ([]Caller, func() error, error) {
	var conns closers
	calls := make([]Caller, callers)
	for i := range calls {
		if i > 0 && !p.PerCaller {
			calls[i] = calls[0]
			continue
		}
		call, conn, err := p.Call(ctx, addr)
		if err != nil {
			return nil, conns.Close, err
		}
		calls[i] = call
		conns = append(conns, conn)
	}
	return calls, conns.Close, nil
}

func measure(ctx context.Context, s *Server, calls []Caller, limit Limit) (Calls, error) {
	if _, _, err := run(ctx, calls, Limit{Calls: len(calls)}); err != nil { // connections, pools and stacks
		return Calls{}, err
	}
	serverBefore, err := s.ask(askAllocs)
	if err != nil {
		return Calls{}, err
	}
	clientBefore := allocs()
	took, elapsed, err := run(ctx, calls, limit)
	clientAfter := allocs()
	if err != nil {
		return Calls{}, err
	}
	serverAfter, err := s.ask(askAllocs)
	if err != nil {
		return Calls{}, err
	}
	slices.Sort(took)
	n := len(took)
	return Calls{
		Calls: n, PerSecond: float64(n) / elapsed.Seconds(),
		P50: took[n/2], P99: took[min(n*99/100, n-1)], Max: took[n-1],
		ClientAllocs: float64(clientAfter-clientBefore) / float64(n),
		ServerAllocs: float64(serverAfter-serverBefore) / float64(n),
	}, nil
}

// run makes the calls, one at least, shared out among the callers, and answers how long each took.
func run(ctx context.Context, calls []Caller, limit Limit) (took []time.Duration, elapsed time.Duration, err error) {
	each := make([][]time.Duration, len(calls))
	errs := make([]error, len(calls))
	var next atomic.Int64
	var wg sync.WaitGroup
	begin := time.Now()
	for i, call := range calls {
		wg.Go(func() {
			each[i], errs[i] = repeat(ctx, call, func() bool {
				n := next.Add(1)
				return n == 1 || (limit.Calls == 0 || n <= int64(limit.Calls)) && (limit.For == 0 || time.Since(begin) < limit.For)
			})
		})
	}
	wg.Wait()
	elapsed = time.Since(begin)
	took = slices.Concat(each...)
	return took, elapsed, errors.Join(errs...)
}

func repeat(ctx context.Context, call Caller, more func() bool) ([]time.Duration, error) {
	var took []time.Duration
	payload := make([]byte, PayloadBytes)
	for more() {
		begin := time.Now()
		if err := call(ctx, payload); err != nil {
			return took, err
		}
		took = append(took, time.Since(begin))
	}
	return took, nil
}

// warmUpBytes is read before the clock starts: buffers and windows have grown by then.
const warmUpBytes = 64 << 20

// MeasureStream reads from a server of p for so long, and answers bytes a second.
func MeasureStream(ctx context.Context, p Peer, s *Server, length time.Duration) (float64, error) {
	read, conn, err := p.Stream(ctx, s.Addr)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }() // the measurement is over
	if _, err := readUntil(read, func(n int64) bool { return n >= warmUpBytes }); err != nil {
		return 0, err
	}
	begin := time.Now()
	n, err := readUntil(read, func(n int64) bool { return n > 0 && time.Since(begin) >= length })
	return float64(n) / time.Since(begin).Seconds(), err
}

func readUntil(read Reader, enough func(int64) bool) (total int64, err error) {
	for !enough(total) {
		n, err := read()
		if err != nil {
			return total, err
		}
		total += int64(n)
	}
	return total, nil
}
