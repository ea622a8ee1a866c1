package schedule_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/datanode/datanode/node/schedule"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
)

// TestNothingStarves has operations that a policy puts last wait in a stream of others without an end, all of which it
// puts first. Each of those that are overdue must start as soon as those before it have had their turn, one after the
// other at worst: a number that is known when it becomes overdue, and that the stream does not change.
func TestNothingStarves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newStream(t)
		for range 120 {
			s.round(t)
		}
	})
}

const (
	streamMaxWait = 5 // rounds of a second
	streamNodes   = 5
)

// stream is a cell in which every operation can run, if it only gets a place, and takes no more rounds than lasts.
type stream struct {
	cell   *statetest.Cell
	now    int
	lasts  int
	ends   map[state.OpID]int // the round in which a running one ends
	latest map[state.OpID]int // the round until which an overdue one must have started
}

func newStream(t *rapid.T) *stream {
	s := &stream{cell: statetest.New(), ends: map[state.OpID]int{}, latest: map[state.OpID]int{}}
	s.lasts = rapid.IntRange(1, 4).Draw(t, "longest")
	s.cell.RunAll(fmt.Sprintf("join n1 n2 n3 n4 n5\nset max-wait %ds\nset max-running %d\nset copies-per-source %d\n"+
		"set copies-per-target %d", streamMaxWait, rapid.IntRange(1, 4).Draw(t, "running"),
		rapid.IntRange(1, 3).Draw(t, "from each"), rapid.IntRange(1, 3).Draw(t, "to each")))
	for i := range 40 {
		a, b := i%streamNodes+1, (i+1+i/streamNodes%2)%streamNodes+1
		s.cell.RunAll(fmt.Sprintf("create on=n%d,n%d\nstart create executor=n%d\nfinish create done\nseal %d\n"+
			"start seal executor=n%d\nfinish seal done confirmed=n%d,n%d", a, b, a, i+1, a, a, b))
	}
	return s
}

func (s *stream) round(t *rapid.T) {
	s.now++
	s.cell.Now += 1e6
	if rapid.IntRange(0, 4).Draw(t, "a low one") == 0 {
		s.add(t, -9000)
	}
	for high := s.high(); high < 8; high++ {
		s.add(t, 9000)
	}
	s.note()
	for i, res := range apply(s.cell, schedule.Next(&s.cell.State.View, schedule.Moment{Cell: s.cell.Now})) {
		if res.Err != nil {
			t.Fatalf("start %d: %s", i, res)
		}
	}
	if err := limits(&s.cell.State.View); err != nil {
		t.Fatal(err)
	}
	s.finish(t)
	s.cell.State.Queued(func(o *state.Op) bool {
		if by, due := s.latest[o.ID]; due && s.now > by {
			t.Fatalf("operation %s has not started in round %d; want by %d", o, s.now, by)
		}
		return true
	})
}

// add queues a create, or a move of an extent that nothing else is about, to a node that is named or not.
func (s *stream) add(t *rapid.T, priority int) {
	if rapid.Bool().Draw(t, "a create") {
		s.cell.Run(fmt.Sprintf("create on=n1 origin=cell priority=%d", priority))
		return
	}
	e := s.cell.State.Extent(state.ExtentID(rapid.IntRange(1, 40).Draw(t, "extent")))
	if len(e.Ops) > 0 || len(e.Former) > 0 {
		return
	}
	from := e.Replicas[rapid.IntRange(0, 1).Draw(t, "from")].Node
	line := fmt.Sprintf("move %d from=%s priority=%d", e.ID, from, priority)
	to := state.NodeID(fmt.Sprintf("n%d", rapid.IntRange(1, streamNodes).Draw(t, "to")))
	if _, holds := e.Replica(to); !holds && rapid.Bool().Draw(t, "named") {
		line += fmt.Sprintf(" to=%s named", to)
	}
	s.cell.Run(line)
}

func (s *stream) high() (n int) {
	s.cell.State.Queued(func(o *state.Op) bool {
		if o.Decision.Priority > 0 {
			n++
		}
		return true
	})
	return n
}

// note says of what becomes overdue until when it must start. Before it are those that are older. Each of these waits
// at worst for a place at its source, then for one at its target, and then runs.
func (s *stream) note() {
	before := 0
	count := func(o *state.Op) bool {
		if o.State != state.OpQueued && o.State != state.OpRunning {
			return true
		}
		waited := s.cell.Now - o.SinceMicros()
		if _, noted := s.latest[o.ID]; o.State == state.OpQueued && waited > streamMaxWait*1e6 && !noted {
			s.latest[o.ID] = s.now + (before+1)*2*(s.lasts+1)
		}
		before++
		return true
	}
	s.cell.State.Ops(0, count)
}

func (s *stream) finish(t *rapid.T) {
	var ended []*state.Op
	s.cell.State.Running(func(o *state.Op) bool {
		if _, known := s.ends[o.ID]; !known {
			s.ends[o.ID] = s.now + rapid.IntRange(0, s.lasts-1).Draw(t, "lasts")
		}
		if s.ends[o.ID] <= s.now {
			ended = append(ended, o)
		}
		return true
	})
	for _, o := range ended {
		out := s.cell.Run(fmt.Sprintf("finish %s done", o.ID))
		if o.Kind == policies.KindMove {
			out += s.cell.Run(fmt.Sprintf("gone %d %s", o.Extent, o.Replaces))
		}
		if strings.Contains(out, "refused") || strings.Contains(out, "stale") {
			t.Fatalf("operation %s: %s", o, out)
		}
	}
}
