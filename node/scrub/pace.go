package scrub

import (
	"context"
	"time"
)

// yieldParts is by how much the scrub slows down while clients are served.
const yieldParts = 4

// pacer spreads what is read over time. It owns no clock: it is given the time, and answers how long to wait.
type pacer struct {
	next time.Time // when what has been taken so far is paid for
}

// take asks for so many bytes at a rate in bytes a second, above 0, and answers how long to wait before reading them.
// What a pause has left unused is not made up for: that would be a burst.
func (p *pacer) take(now time.Time, bytes int, rate uint64, busy bool) time.Duration {
	if busy {
		rate = max(1, rate/yieldParts)
	}
	if p.next.Before(now) {
		p.next = now
	}
	wait := p.next.Sub(now)
	p.next = p.next.Add(time.Duration(float64(bytes) / float64(rate) * float64(time.Second)))
	return wait
}

// pace waits until the scrub may read so many bytes more: as long as the cell's setting has it stand still, and
// longer while clients are served.
func (s *Scrubber) pace(ctx context.Context, bytes int) error {
	for s.opt.View().Settings.ScrubRate() == 0 {
		if err := s.rest(ctx, Look); err != nil {
			return err
		}
	}
	rate := s.opt.View().Settings.ScrubRate()
	wait := s.pacer.take(s.opt.Clock.Now(), bytes, max(1, rate), s.opt.Busy())
	if wait > 0 {
		return s.rest(ctx, wait)
	}
	return ctx.Err()
}

// rest waits. What is asked for meanwhile does not end it.
func (s *Scrubber) rest(ctx context.Context, d time.Duration) error {
	select {
	case <-s.opt.Clock.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
