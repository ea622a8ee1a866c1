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

// fullDisk is a disk in memory with a file of somebody else's on it, which can grow and shrink.
type fullDisk struct {
	*testing.T
	mem     *vfs.Mem
	foreign vfs.File
	setting uint64
	room    *room
}

func newFullDisk(t *testing.T, bytes int64) *fullDisk {
	d := &fullDisk{T: t, mem: vfs.NewMem()}
	d.mem.Limit(bytes)
	d.must(d.mem.MkdirAll("/data"))
	f, err := d.mem.Create("/foreign")
	d.must(err)
	d.foreign = f
	d.open()
	return d
}

func (d *fullDisk) must(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

func (d *fullDisk) open() {
	d.Helper()
	r, err := openRoom(d.mem, "/data", func() (uint64, bool) { return d.setting, true }, slog.New(slog.DiscardHandler))
	d.must(err)
	d.room = r
}

// leave makes the foreign file so large that so many bytes are free.
func (d *fullDisk) leave(free int64) {
	d.Helper()
	size, err := d.foreign.Size()
	d.must(err)
	space, err := d.mem.Space("/")
	d.must(err)
	d.must(d.foreign.Truncate(size + int64(space.FreeBytes) - free))
}

func (d *fullDisk) takes(want bool) {
	d.Helper()
	d.room.keep()
	err := d.room.take(wire.OpAppend, "n1", 1)
	if (err == nil) != want || err != nil && wire.CodeOf(err) != wire.CodeNoSpace {
		d.Fatalf("%d bytes free: takes %t, want %t: %v", d.room.disk().free, err == nil, want, err)
	}
	if said := d.room.disk().refuses; (said == "") != want {
		d.Fatalf("takes %t and says %q", want, said)
	}
}

// The reserve is a file. Under it nothing is taken, and it takes twice as much room to begin again.
func TestReserve(t *testing.T) {
	d := newFullDisk(t, 80*mib)
	d.takes(true)
	if got := d.room.disk(); got.reserve != 4*mib || got.free != 76*mib || got.total != 80*mib {
		t.Fatalf("an empty disk: %+v", got)
	}
	low := int64(leastLow)
	d.leave(low)
	d.takes(true)
	d.leave(low - 1)
	d.takes(false)
	d.leave(2*low - 1)
	d.takes(false)
	d.leave(2 * low)
	d.takes(true)
	// When as much is taken as there was at the last look, the disk is looked at anew, not at the next turn.
	d.leave(low - 1)
	if err := d.room.take(wire.OpAppend, "n1", int(low)); wire.CodeOf(err) != wire.CodeNoSpace {
		t.Errorf("beyond what was left: %v", err)
	}
}

// The reserve is given back in steps while a write finds no space, and is made whole again when there is some.
func TestReserveIsGivenBack(t *testing.T) {
	d := newFullDisk(t, 80*mib)
	d.takes(true)
	d.leave(0)
	given := 0
	for d.room.make() {
		given++
		space, err := d.mem.Space("/")
		d.must(err)
		if space.FreeBytes != mib/2 {
			t.Fatalf("step %d gave %d bytes", given, space.FreeBytes)
		}
		d.leave(0) // the log, or somebody else
	}
	if given != reserveSteps {
		t.Errorf("a reserve of 4 MiB is given back in %d steps, want %d", given, reserveSteps)
	}
	d.takes(false)
	if said := d.room.disk(); said.reserve != 0 || said.free != 0 || !strings.Contains(said.refuses, "in use") {
		t.Errorf("with nothing left: %+v", said)
	}
	d.leave(20 * mib)
	d.takes(true)
	if got := d.room.disk(); got.reserve != 4*mib || got.free != 16*mib {
		t.Errorf("with room again: %+v", got)
	}
}

// On a full disk the start gives some of the reserve back first of all, and the setting is followed either way.
func TestReserveAtStart(t *testing.T) {
	d := newFullDisk(t, 80*mib)
	d.takes(true)
	d.leave(0)
	d.open()
	if space, err := d.mem.Space("/"); err != nil || space.FreeBytes < startFree {
		t.Errorf("after the start %d bytes are free, want %d (%v)", space.FreeBytes, startFree, err)
	}
	d.leave(60 * mib)
	for set, want := range map[uint64]uint64{8 * mib: 8 * mib, mib: mib, 1 << 40: 20 * mib, 0: 4 * mib} {
		d.setting = set
		d.takes(true)
		if got := d.room.disk().reserve; got != want {
			t.Errorf("a setting of %d keeps %d bytes, want %d", set, got, want)
		}
	}
	// Where nobody can tell how full the disk is, everything is taken until the disk itself refuses.
	d.mem.Limit(0)
	d.takes(true)
}

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
	if said := c.nodes["n3"].disk().refuses; !strings.Contains(said, syscall.EIO.Error()) {
		t.Errorf("its own status says %q", said)
	}
}
