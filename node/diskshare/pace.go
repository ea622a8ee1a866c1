package diskshare

import (
	"context"
	"sync"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
)

const (
	// paceSlack is how much of a second's bytes may be made up for: timers come late, and a copy that waited for its
	// source has not used its part. More would be a burst.
	paceSlack = 100 * time.Millisecond
	// paceLook is how long it takes at most until a change of the setting, or of what runs, is seen.
	paceLook = 250 * time.Millisecond
)

// Pace holds the copies that this node writes to its part of the bytes a second that the cell's setting allows all of
// them. A cell has its copies spread over its nodes, and each node sees in the state how many run, and how many of
// them are its own: so many parts of the whole it takes. It is for the nodes to keep, since only one that writes can
// stop what it is sent, by not granting more. Its methods may be called from any goroutine.
//
// The last replica waits like any other: a limit to what a network takes holds whatever is copied.
type Pace struct {
	clock clock.Clock
	id    state.NodeID
	view  func() *state.View

	mu    sync.Mutex
	at    time.Time // when paid was brought up to date. Guarded by mu.
	paid  float64   // bytes that there was time for. Guarded by mu. Invariant: not above taken by more than paceSlack
	taken float64   // bytes that were asked for. Guarded by mu.
}

// NewPace is the pace of a node's copies.
func NewPace(c clock.Clock, id state.NodeID, view func() *state.View) *Pace {
	return &Pace{clock: c, id: id, view: view}
}

// Take waits until the copies of this node may write so many bytes more, in the order in which they ask. The error is
// that of ctx.
func (p *Pace) Take(ctx context.Context, bytes int) error {
	before, wait := p.ask(bytes)
	for wait > 0 {
		select {
		case <-p.clock.After(min(wait, paceLook)):
		case <-ctx.Done():
			return ctx.Err()
		}
		p.mu.Lock()
		wait = p.waitLocked(before)
		p.mu.Unlock()
	}
	return ctx.Err()
}

// ask takes bytes, and says behind how many others they are, and how long that will be.
func (p *Pace) ask(bytes int) (before float64, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wait = p.waitLocked(p.taken)
	before = p.taken
	p.taken += float64(bytes)
	return before, wait
}

// waitLocked is how long it is until what was asked for before is paid for.
func (p *Pace) waitLocked(before float64) time.Duration {
	now, rate := p.clock.Now(), p.rate()
	if rate == 0 {
		p.at, p.paid = now, p.taken
		return 0
	}
	p.paid = min(p.paid+rate*now.Sub(p.at).Seconds(), p.taken+rate*paceSlack.Seconds())
	p.at = now
	if p.paid >= before {
		return 0
	}
	return max(time.Microsecond, time.Duration((before-p.paid)/rate*float64(time.Second)))
}

// rate is how many bytes a second this node's copies may write; 0: any.
func (p *Pace) rate() float64 {
	view := p.view()
	if view.Settings.CopyPace == 0 {
		return 0
	}
	own, all := 0, 0
	view.Running(func(o *state.Op) bool {
		if o.Kind == policies.KindRepair || o.Kind == policies.KindMove {
			all++
			if o.Executor == p.id {
				own++
			}
		}
		return true
	})
	return float64(view.Settings.CopyPace) * float64(max(own, 1)) / float64(max(all, 1))
}
