package fair

import (
	"time"

	"github.com/datanode/datanode/node/clock"
)

const (
	// paceBurst is how much of its work a sharer may do at once, and paceShare how much later: a part of the time.
	// Turns alone share out places; one identity that asks without end would still keep a processor busy for ever.
	paceBurst = 2 * time.Second
	paceShare = 4 // a quarter
	// paceForget is how many sharers are remembered before those are looked for that owe nothing.
	paceForget = 256
)

// pace makes sharers rest who have worked for long. It is for one goroutine at a time.
type pace struct {
	clock clock.Clock // zero: nobody rests
	of    map[string]debt
}

// debt is work that is not rested for yet.
type debt struct {
	work time.Duration // as of at
	at   time.Time
}

func (p *pace) now() time.Time {
	if p.clock.Now == nil {
		return time.Time{}
	}
	return p.clock.Now()
}

// worked notes a turn that has ended now, and says how long its sharer is to rest.
func (p *pace) worked(sharer string, began time.Time) (rest time.Duration) {
	if p.clock.Now == nil {
		return 0
	}
	now := p.clock.Now()
	if p.of == nil {
		p.of = map[string]debt{}
	}
	d := p.of[sharer].left(now) + now.Sub(began)
	p.of[sharer] = debt{work: d, at: now}
	if len(p.of) > paceForget {
		for s, d := range p.of {
			if d.left(now) == 0 {
				delete(p.of, s)
			}
		}
	}
	return max(0, d-paceBurst) * paceShare
}

func (d debt) left(now time.Time) time.Duration { return max(0, d.work-now.Sub(d.at)/paceShare) }
