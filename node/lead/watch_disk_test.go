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

// hearing is a watch of a cell, and what it proposes when it hears of the disks of n1.
func hearing(s *statetest.Cell, now *time.Time) (w *watch, hear func(wire.Heartbeat) []state.Command) {
	w = newWatch(env{clock: clock.Of(mux.Clock{Now: func() time.Time { return *now }})})
	w.seen = map[state.NodeID]*seen{}
	return w, func(b wire.Heartbeat) []state.Command {
		b.Node, b.Incarnation = "n1", 1
		w.seen["n1"] = &seen{at: *now, beat: b}
		return w.disksLocked(s.State.Snapshot())
	}
}

// The leader records what is news about the disks of nodes, and only in cells that can all read it.
func TestDiskReports(t *testing.T) {
	s := statetest.New()
	s.RunAll("join n1\nroom n1 free=500 total=1000")
	now := time.Unix(1000, 0)
	w, hear := hearing(s, &now)
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
	s.RunAll("room n1 free=500 total=1000")
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

// What one disk may take is news by a share of itself, and so is each change of a disk that is not ok.
func TestReportsOfOneDisk(t *testing.T) {
	s := statetest.New()
	s.RunAll("join n1")
	s.Apply(&state.Join{Node: "n1", Addr: "n1:1", Incarnation: 1, Level: state.LevelNow})
	now := time.Unix(1000, 0)
	_, hear := hearing(s, &now)
	s.RunAll("room n1 free=500 total=1000 largest=100 d1=failed")
	failed := []wire.NodeDisk{{Node: "n1", Disk: "d1", State: "failed"}}
	for _, c := range []struct {
		largest uint64
		disks   []wire.NodeDisk
		news    bool
	}{
		{100, failed, false}, {98, failed, false}, {96, failed, true}, {0, failed, true}, {100, nil, true},
		{100, []wire.NodeDisk{{Node: "n1", Disk: "d1", State: "missing"}}, true},
		{100, append(failed, wire.NodeDisk{Node: "n1", Disk: "d2", State: "draining"}), true},
	} {
		cmds := hear(wire.Heartbeat{Free: 500, Total: 1000, Largest: c.largest, Disks: c.disks})
		if len(cmds) == 1 && c.news {
			said := cmds[0].(*state.NodeRoom)
			if said.Largest != c.largest || len(said.Disks) != len(c.disks) {
				t.Errorf("%+v: %+v", c, said)
			}
		} else if len(cmds) != 0 || c.news {
			t.Errorf("%+v: %v", c, cmds)
		}
	}
}

// While a node of an older build is in the cell, the log says of disks only what that build knows.
func TestDiskReportsToOlderNodes(t *testing.T) {
	s := statetest.New()
	for node, level := range map[state.NodeID]state.Level{"n1": state.LevelNow, "n2": state.LevelDisks - 1} {
		s.Apply(&state.Join{Node: node, Addr: string(node) + ":1", Incarnation: 1, Level: level})
	}
	w := newWatch(env{clock: clock.Of(mux.Clock{})})
	w.seen = map[state.NodeID]*seen{"n1": {beat: wire.Heartbeat{Node: "n1", Incarnation: 1, Free: 100, Total: 1000,
		Largest: 50, Disks: []wire.NodeDisk{{Node: "n1", Disk: "d1", State: wire.DiskFailed}}}}}
	cmds := w.disksLocked(s.State.Snapshot())
	if len(cmds) != 1 || state.LevelOf(cmds) != state.LevelProven {
		t.Errorf("beside an older node: %+v", cmds)
	}
	s.Apply(&state.Join{Node: "n2", Addr: "n2:1", Incarnation: 2, Level: state.LevelNow})
	cmds = w.disksLocked(s.State.Snapshot())
	if len(cmds) != 1 || state.LevelOf(cmds) != state.LevelDisks {
		t.Errorf("with builds that know it: %+v", cmds)
	}
}
