package lead

import (
	"testing"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// The leader records what is news about the disks of nodes, and only in cells that can all read it.
func TestDiskReports(t *testing.T) {
	s := statetest.New()
	s.RunAll("join n1\nroom n1 free=500 total=1000")
	now := time.Unix(1000, 0)
	w := newWatch(env{clock: clock.Of(mux.Clock{Now: func() time.Time { return now }})})
	w.seen = map[state.NodeID]*seen{}
	hear := func(b wire.Heartbeat) []state.Command {
		b.Node, b.Incarnation = "n1", 1
		w.seen["n1"] = &seen{at: now, beat: b}
		return w.disksLocked(s.State.Snapshot())
	}
	full := wire.Heartbeat{Free: 3, Total: 1000, Refuses: "full", Applied: 9}
	if cmds := hear(full); cmds != nil {
		t.Errorf("a node of the first level is told of disks: %v", cmds)
	}
	s.Apply(&state.Join{Node: "n1", Addr: "n1:1", Incarnation: 1, Level: state.LevelNow})
	for _, c := range []struct {
		beat wire.Heartbeat
		want string // Refuses of the command; "-": there is none
	}{
		{full, "full"},
		{wire.Heartbeat{Free: 500, Total: 1000, Refuses: "full"}, "full"},
		{wire.Heartbeat{Free: 500 - 31, Total: 1000}, "-"},
		{wire.Heartbeat{Free: 500 + 32, Total: 1000}, ""},
		{wire.Heartbeat{Free: 500, Total: 2000}, ""},
	} {
		cmds := hear(c.beat)
		if len(cmds) == 0 && c.want == "-" {
			continue
		}
		if len(cmds) != 1 || cmds[0].(*state.NodeRoom).Refuses != c.want {
			t.Errorf("%+v: %v", c.beat, cmds)
		}
	}
	// It lacks what the leader has applied for so long.
	w.markLocked(10)
	same := wire.Heartbeat{Free: 500, Total: 1000, Applied: 9}
	now = now.Add(behindAfter - 1)
	if cmds := hear(same); len(cmds) != 0 {
		t.Errorf("behind too soon: %v", cmds)
	}
	now = now.Add(1)
	if cmds := hear(same); len(cmds) != 1 || cmds[0].(*state.NodeRoom).Refuses != whyBehind {
		t.Errorf("not behind: %v", cmds)
	}
	same.Applied = 10
	if cmds := hear(same); len(cmds) != 0 {
		t.Errorf("behind although it has all: %v", cmds)
	}
}
