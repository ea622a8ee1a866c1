package raftlog

import (
	"log/slog"
	"testing"
	"time"

	"github.com/datanode/datanode/raftlog/state"
)

// testClock is a machine's two clocks: time that goes by, and the one on the wall, which can be set.
type testClock struct {
	gone, wall time.Time
	clock      clock
	last       state.Micros
	t          *testing.T
}

func newTestClock(t *testing.T) *testClock {
	c := &testClock{gone: time.Unix(0, 0), wall: time.Unix(1_000_000, 0), t: t}
	c.clock = clock{now: func() time.Time { return c.gone }, wall: func() time.Time { return c.wall },
		logger: slog.New(slog.DiscardHandler)}
	return c
}

// pass lets time go by in steps of a tenth of a second, and answers how far the cell's time came.
func (c *testClock) pass(d time.Duration) time.Duration {
	c.t.Helper()
	before := c.last
	for ; d > 0; d -= 100 * time.Millisecond {
		c.gone, c.wall = c.gone.Add(100*time.Millisecond), c.wall.Add(100*time.Millisecond)
		now := c.clock.look(c.last)
		if now < c.last {
			c.t.Fatalf("the cell's time went back from %d to %d", c.last, now)
		}
		c.last = now
	}
	return (c.last - before).Duration()
}

func (c *testClock) within(what string, got, least, most time.Duration) {
	c.t.Helper()
	if got < least || got > most {
		c.t.Errorf("%s: the cell's time rose by %v, want %v to %v", what, got, least, most)
	}
}

// A wall clock that is set a day ahead for two seconds, or back, moves the cell's time by next to nothing.
func TestTimeFollowsNoJump(t *testing.T) {
	c := newTestClock(t)
	c.pass(time.Second)
	if got := time.UnixMicro(int64(c.last)); got.Sub(c.wall).Abs() > time.Millisecond {
		t.Errorf("a new cell begins at %v, the wall clock says %v", got, c.wall)
	}
	c.wall = c.wall.Add(24 * time.Hour)
	c.within("a day ahead", c.pass(2*time.Second), 2*time.Second, 2200*time.Millisecond)
	c.wall = c.wall.Add(-24 * time.Hour)
	c.within("and back", c.pass(10*time.Second), 9*time.Second, 10*time.Second)
	c.wall = c.wall.Add(-24 * time.Hour)
	c.within("a day behind, for good", c.pass(100*time.Second), 90*time.Second, 100*time.Second)
}

// A new leader whose wall clock is a day ahead goes on where the log is. After the whole cell was stopped for a day,
// its time comes up to the wall clock, but only once that has been steady.
func TestTimeGoesOnInANewLeader(t *testing.T) {
	c := newTestClock(t)
	c.last = state.Micros(c.wall.Add(-24 * time.Hour).UnixMicro())
	c.within("at first", c.pass(50*time.Second), 50*time.Second, 55*time.Second)
	c.within("once it is steady", c.pass(30*time.Minute), 24*time.Hour, 25*time.Hour)
	if got := time.UnixMicro(int64(c.last)); got.Sub(c.wall).Abs() > time.Millisecond {
		t.Errorf("the cell's time is %v, the wall clock says %v", got, c.wall)
	}
}
