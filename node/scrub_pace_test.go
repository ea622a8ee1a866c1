package node

import (
	"testing"
	"time"
)

// What the scrub takes is spread over time, a pause is not made up for, and it yields to clients.
func TestPacer(t *testing.T) {
	const rate = 1000
	at := time.Unix(1_000_000, 0)
	var p pacer
	for i, step := range []struct {
		after time.Duration // since the step before
		bytes int
		busy  bool
		wait  time.Duration
	}{
		{0, 500, false, 0}, // the first is free
		{0, 500, false, 500 * time.Millisecond},
		{500 * time.Millisecond, 250, false, 500 * time.Millisecond}, // the one before was paid for just now
		{500 * time.Millisecond, 1000, false, 250 * time.Millisecond},
		{time.Hour, 1000, false, 0}, // no more than one at once after a pause
		{0, 500, true, time.Second},
		{time.Second, 500, true, 2 * time.Second}, // a quarter of the rate since a client is served
		{2 * time.Second, 0, false, 2 * time.Second},
		{2 * time.Second, 1, false, 0},
	} {
		at = at.Add(step.after)
		if got := p.take(at, step.bytes, rate, step.busy); got != step.wait {
			t.Errorf("step %d: waits %v, want %v", i, got, step.wait)
		}
	}
}

// Over a long time the rate is kept to, whatever the pieces are, when each is waited for.
func TestPacerKeepsTheRate(t *testing.T) {
	const rate = 1 << 20
	began := time.Unix(1_000_000, 0)
	at, total := began, 0
	var p pacer
	for i := range 10_000 {
		n := 1 + i*7919%(256<<10)
		at = at.Add(p.take(at, n, rate, false))
		total += n
	}
	want := time.Duration(float64(total) / rate * float64(time.Second))
	if got := at.Sub(began); got < want-time.Second || got > want {
		t.Errorf("%d bytes in %v, want %v", total, got, want)
	}
}
