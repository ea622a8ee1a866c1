// Package load measures callers that each do one thing after the other: how often, how long they wait, and what the
// servers spend on it. What is done is the caller's business, so that the product and what it is compared with are
// measured alike.
//
// A run is one stretch without a break: callers begin, the warm-up passes, and from then on counts what ends before
// the time is up. Run owns its goroutines and returns when all have ended.
package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// maxFailures in a row end a caller: what it does does not work.
const maxFailures = 100

// ErrSpent says that there is nothing left to do for anybody: it ends the run, and is no failure.
var ErrSpent = errors.New("nothing is left to do")

// Load says who does it and how long.
type Load struct {
	Callers int
	Warmup  time.Duration // not measured
	Length  time.Duration // of what is measured; less when everything is done before
	Servers []int         // processes whose time is counted; none: it is not
	Bytes   int           // of one object
	Each    int           // objects that one call is about; 0: 1
}

// Row is what was measured. Times are microseconds. Rates count objects.
type Row struct {
	Callers        int     `json:"callers"`
	Bytes          int     `json:"bytes"`
	Batch          int     `json:"batch"`
	Calls          int     `json:"calls"`
	Errors         int     `json:"errors"`
	Error          string  `json:"error"` // the first one
	PerSecond      float64 `json:"calls_per_second"`
	BytesPerSecond float64 `json:"bytes_per_second"`
	P50            float64 `json:"p50_us"`
	P99            float64 `json:"p99_us"`
	P999           float64 `json:"p999_us"`
	Max            float64 `json:"max_us"`
	// ServerTime and ClientTime are processor time for one object; ServerTime is 0 where it was not asked for.
	ServerTime float64 `json:"server_cpu_us"`
	ClientTime float64 `json:"client_cpu_us"`
}

// run is one Load under way.
type run struct {
	Load
	do    func(ctx context.Context, caller int) error
	spent atomic.Bool
	begin time.Time // of what is measured
	end   time.Time
}

// caller is what one caller did. Owned by its goroutine until that has ended.
type caller struct {
	took   []time.Duration
	failed int
	err    error // the first
	last   time.Time
}

// Run lets callers do something until the time is up, one of them says ErrSpent, or ctx ends. What is under way then
// is waited for, and does not count. An error is that of a run in which nothing succeeded; what fails beside what
// succeeds is counted.
func (l Load) Run(ctx context.Context, do func(ctx context.Context, caller int) error) (Row, error) {
	now := time.Now()
	r := &run{Load: l, do: do, begin: now.Add(l.Warmup), end: now.Add(l.Warmup + l.Length)}
	callers := make([]caller, l.Callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { callers[i] = r.call(ctx, i) })
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	used, err := r.clock(ended)
	<-ended
	if err != nil {
		return Row{}, err
	}
	return r.row(callers, used)
}

// clock waits for the end of the run, and answers the processor time of servers and of this process while it was
// measured.
func (r *run) clock(ended <-chan struct{}) (used spending, err error) {
	if !until(r.begin, ended) {
		return spending{}, nil
	}
	before, err := r.spending()
	if err != nil {
		return spending{}, err
	}
	until(r.end, ended)
	after, err := r.spending()
	return spending{after.servers - before.servers, after.client - before.client}, err
}

// until reports whether the time came before all callers had ended.
func until(t time.Time, ended <-chan struct{}) bool {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ended:
		return false
	}
}

// call does what one caller does.
func (r *run) call(ctx context.Context, i int) caller {
	var c caller
	for failures := 0; failures < maxFailures && !r.spent.Load() && ctx.Err() == nil; {
		start := time.Now()
		err := r.do(ctx, i)
		done := time.Now()
		switch {
		case errors.Is(err, ErrSpent):
			r.spent.Store(true)
			return c
		case ctx.Err() != nil || done.After(r.end):
			return c
		case done.Before(r.begin) && err == nil:
			continue
		case err != nil:
			c.failed++
			failures++
			if c.err == nil {
				c.err = err
			}
			continue
		}
		failures = 0
		c.took = append(c.took, done.Sub(start))
		c.last = done
	}
	return c
}

// row adds up what callers did.
func (r *run) row(callers []caller, used spending) (Row, error) {
	row := Row{Callers: r.Callers, Bytes: r.Bytes, Batch: max(r.Each, 1)}
	var took []time.Duration
	end := r.begin
	var first error
	for _, c := range callers {
		took = append(took, c.took...)
		row.Errors += c.failed
		if first == nil {
			first = c.err
		}
		if c.last.After(end) {
			end = c.last
		}
	}
	if len(took) == 0 {
		if first == nil {
			first = context.DeadlineExceeded
		}
		return Row{}, fmt.Errorf("nothing was done within %s by any of %d callers: %w", r.Length, r.Callers, first)
	}
	if first != nil {
		row.Error = first.Error()
	}
	if !r.spent.Load() {
		end = r.end
	}
	objects := float64(len(took) * row.Batch)
	row.Calls = len(took)
	row.PerSecond = objects / end.Sub(r.begin).Seconds()
	row.BytesPerSecond = row.PerSecond * float64(r.Bytes)
	row.ServerTime = micros(used.servers) / objects
	row.ClientTime = micros(used.client) / objects
	row.P50, row.P99, row.P999, row.Max = quantiles(took)
	return row, nil
}

func quantiles(took []time.Duration) (p50, p99, p999, most float64) {
	slices.Sort(took)
	at := func(perMille int) float64 { return micros(took[min(len(took)*perMille/1000, len(took)-1)]) }
	return at(500), at(990), at(999), at(1000)
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
