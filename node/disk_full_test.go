package node

import (
	"bytes"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
	"github.com/datanode/datanode/wire"
)

const mib = 1 << 20

// A node that is behind sees the files that it has dropped named for long, and says of each once that it is gone.
func TestDropIsConfirmedOnce(t *testing.T) {
	s := statetest.New()
	s.RunAll("join n1 n2\ncreate on=n1,n2\nstart create\nfinish create done\ndelete 1\nstart delete")
	store, _, err := extent.Open(vfs.NewMem(), "/store", extent.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	n := &Node{id: "n1", store: store, logger: slog.New(slog.DiscardHandler)}
	n.reportGone = newReporter(n)
	x := newExecutor(n)
	said, count := confirmations{}, 0
	entry := s.State.Applied + 3
	go func() {
		for w := range n.reportGone.queue {
			count++
			w.done <- proposed{index: entry}
		}
	}()
	t.Cleanup(func() { close(n.reportGone.queue) })
	view := s.State.Snapshot()
	for round := range 100 {
		if more := x.dropBatch(t.Context(), view, said); more != (round == 0) {
			t.Fatalf("round %d: more to do: %t", round, more)
		}
	}
	if count != 1 {
		t.Errorf("confirmed %d times while the state stands still, want once", count)
	}
	// The entry is applied, and did not do what it should.
	s.RunAll("session\nsession\nsession")
	entry++
	if x.dropBatch(t.Context(), s.State.Snapshot(), said); count != 2 {
		t.Errorf("confirmed %d times, want again once the entry is applied in vain", count)
	}
	s.RunAll("gone 1 n1")
	if x.dropBatch(t.Context(), s.State.Snapshot(), said); count != 2 || len(said) != 0 {
		t.Errorf("confirmed %d times, %d remembered, after it was done", count, len(said))
	}
}

// Fences of extents that the cell has forgotten leave the file. Those of extents to come, and of others that
// are here or
// known, stay.
func TestForgottenFences(t *testing.T) {
	s := statetest.New()
	s.RunAll("join n1\ncreate on=n1\nstart create\nfinish create done\ndelete 1\nstart delete\ngone 1 n1\ncreate on=n1")
	store, _, err := extent.Open(vfs.NewMem(), "/store", extent.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	for id := range extent.ID(4) {
		if err := store.RaiseFence(id, 5); err != nil {
			t.Fatal(err)
		}
	}
	n := &Node{id: "n1", store: store, logger: slog.New(slog.DiscardHandler)}
	n.forgetFences(s.State.Snapshot())
	var kept []extent.ID
	for id := range extent.ID(4) {
		if store.Fence(id) == 5 {
			kept = append(kept, id)
		}
	}
	if len(kept) != 2 || kept[0] != 2 || kept[1] != 3 {
		t.Errorf("fences of extents %v stay, want those of 2, which is there, and 3, which is to come", kept)
	}
}

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
