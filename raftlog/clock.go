package raftlog

import (
	"log/slog"
	"sync"
	"time"

	"github.com/datanode/datanode/raftlog/state"
)

const (
	// drift is the part of the time gone by that the cell's time may be ahead or behind of it to come nearer to the
	// wall clock.
	drift = 10
	// steadyFor is for how long the wall clock must have been ahead, without a jump, before it is believed. The whole
	// cell may have been stopped for a weekend.
	steadyFor = time.Minute
	// catchUp is how many times faster the cell's time then goes, at most, until it is there.
	catchUp = 60
	// jump is by how much more than time has gone by a wall clock must have moved to have been set.
	jump = time.Second
)

// clock is the cell's time, as this node would put it into an entry now. Durations are taken from it, by all nodes: of
// pauses, leases and delays. It therefore rises by the time that goes by on this machine, which nobody can set, from
// what the log last said; a wall clock that is set a day ahead, for two seconds or in a new leader, neither ends what
// runs nor stops it for a day, and one that is set back does not stop it either. It follows the wall clock slowly, so
// that a sound one is never far.
type clock struct {
	now    func() time.Time // what goes by on it is time that has gone by
	wall   func() time.Time
	logger *slog.Logger

	mu     sync.Mutex
	cell   state.Micros // under mu; 0: nothing is known yet. It never falls
	at     time.Time    // under mu; when cell was that, by now
	onWall time.Time    // under mu; the wall clock then
	since  time.Time    // under mu; since when, by now, the wall clock has not jumped
}

// look is the cell's time, of which the log has said that it is applied at least.
func (c *clock) look(applied state.Micros) state.Micros {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, wall := c.now(), c.wall().Round(0)
	if c.at.IsZero() {
		c.at, c.onWall, c.since = now, wall, now
	}
	gone := max(now.Sub(c.at), 0)
	if off := wall.Sub(c.onWall) - gone; off.Abs() > jump {
		c.logger.Warn("the clock of this machine was set; the cell's time goes on as if it had not been", "by",
			off.Round(time.Millisecond).String())
		c.since = now
	}
	onWall := state.Micros(wall.UnixMicro())
	at := max(c.cell+state.Micros(gone.Microseconds()), applied)
	if at == state.Micros(gone.Microseconds()) { // a new cell's first entry
		at = onWall
	}
	most := gone / drift
	if now.Sub(c.since) > steadyFor && onWall > at {
		most = gone * catchUp
	}
	limit := state.Micros(most.Microseconds())
	at += min(max(onWall-at, -min(limit, state.Micros((gone/drift).Microseconds()))), limit)
	c.cell, c.at, c.onWall = max(c.cell, at, applied), now, wall
	return c.cell
}

// Now is the cell's time, as an entry of this node would carry it. It never goes back.
func (g *Group) Now() state.Micros { return g.clock.look(g.View().NowMicros) }
