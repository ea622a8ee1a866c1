package node

import (
	"bytes"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
	"github.com/datanode/datanode/wire"
)

const mib = 1 << 20

// The leader records what is news about the disks of nodes, and only in cells that can all read it.
func TestRooms(t *testing.T) {
	s := statetest.New()
	s.RunAll("join n1\nroom n1 free=500 total=1000")
	now := time.Unix(1000, 0)
	w := newWatch(&Node{cfg: Config{Clock: Config{}.withDefaults().Clock}})
	w.n.cfg.Clock.Now = func() time.Time { return now }
	w.seen = map[state.NodeID]*seen{}
	hear := func(b wire.Heartbeat) []state.Command {
		b.Node, b.Incarnation = "n1", 1
		w.seen["n1"] = &seen{at: now, beat: b}
		return w.roomsLocked(s.State.Snapshot())
	}
	full := wire.Heartbeat{Free: 3, Total: 1000, Refuses: "full", Applied: 9}
	if cmds := hear(full); cmds != nil {
		t.Errorf("a node of the first level is told of rooms: %v", cmds)
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

// A disk of four fills up: puts go to the others, it says why, and takes more as soon as there is room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	c := newCellWith(t, 3, 1, func(cfg *Config) {
		if cfg.ID == "n4" {
			cfg.FS = mem
		}
	})
	const class = "full"
	foreign, err := mem.Create("/foreign")
	if err == nil {
		err = foreign.Truncate(20 * mib)
	}
	if err != nil {
		t.Fatal(err)
	}
	mem.Limit(20 * mib)
	c.until("n4 takes nothing", func(n *Node) bool {
		node := n.log.View().Node("n4")
		return node.Refuses != "" && node.State == state.NodeUp
	})
	if _, err := c.putAt("n4", []byte("x")); wire.CodeOf(err) != wire.CodeNoSpace {
		t.Errorf("put at the full node: %v", err)
	}
	for range 10 {
		loc := c.put(bytes.Repeat([]byte(class), appendPiece/2))
		if e := c.any().log.View().Extent(state.ExtentID(loc.Extent)); e.MayHoldFile("n4") {
			t.Errorf("extent %d has a replica on the full disk", loc.Extent)
		}
	}
	mem.Limit(1 << 30)
	c.until("n4 takes replicas", func(n *Node) bool { return n.log.View().Node("n4").Takes() })
	if _, err := c.putAt("n4", []byte("x")); err != nil {
		t.Errorf("put with room again: %v", err)
	}
}

// After a failed sync the node itself says so, wherever it is asked.
func TestFailedStoreIsTold(t *testing.T) {
	t.Parallel()
	fault := vfs.NewFault(vfs.OS{})
	c := newCellWith(t, 3, 0, func(cfg *Config) {
		if cfg.ID == "n3" {
			cfg.FS = fault
		}
	})
	fault.Set(func(call vfs.Call) error {
		if call.Op == vfs.OpSync {
			return syscall.EIO
		}
		return nil
	})
	if _, err := c.putAt("n3", []byte("x")); err == nil {
		t.Fatal("put on a disk whose sync fails")
	}
	c.until("the cell knows", func(n *Node) bool {
		return strings.Contains(n.log.View().Node("n3").Refuses, syscall.EIO.Error())
	})
	if said := c.nodes["n3"].diskStatus().Refuses; !strings.Contains(said, syscall.EIO.Error()) {
		t.Errorf("its own status says %q", said)
	}
}
