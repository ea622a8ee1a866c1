package node

import (
	"bytes"
	"sync/atomic"
	"testing"

	"github.com/datanode/datanode/node/datapath"
	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// An extent that is sealed or deleted through the log gives back its place among those that its primary appends to.
func TestSlotsComeBack(t *testing.T) {
	c := newCell(t, 1, 0)
	n := c.nodes["n1"]
	for _, kind := range []string{"seal", "delete"} {
		loc := c.put(pattern(1, 100))
		made := c.run(wire.Submission{Kind: "create"})[0]
		to := client.PutOptions{Extent: made.Extent}
		if _, err := c.client.Put(testContext(t), bytes.NewReader(pattern(2, 10)), to); err != nil {
			t.Fatal(err)
		}
		if open := n.data.Open(); open != 2 {
			t.Fatalf("%d open extents, want that of the put and the named one", open)
		}
		c.run(wire.Submission{Kind: kind, Extent: loc.Extent}, wire.Submission{Kind: kind, Extent: made.Extent})
		c.untilTrue("they have given back their places", func() bool { return n.data.Open() == 0 })
	}
}

// What nobody has put to for long is sealed; one that is in use, or was, is not.
func TestIdleExtentsAreSealed(t *testing.T) {
	c := newCell(t, 1, 0)
	n := c.nodes["n1"]
	id := state.ExtentID(c.put(pattern(1, 100)).Extent)
	for range datapath.IdleLooks - 1 {
		n.data.SealIdle()
	}
	if again := state.ExtentID(c.put(pattern(2, 100)).Extent); again != id {
		t.Fatalf("the second put is in extent %d, want %d", again, id)
	}
	for range datapath.IdleLooks - 1 {
		n.data.SealIdle()
	}
	if e := n.log.View().Extent(id); e.State != state.ExtentOpen || n.data.Open() != 1 {
		t.Fatalf("%v, although it was put to", e)
	}
	n.data.SealIdle()
	c.until("it is sealed", func(n *Node) bool { return n.log.View().Extent(id).State == state.ExtentSealed })
	if open := n.data.Open(); open != 0 {
		t.Errorf("%d open extents are left", open)
	}
}

// Extents that are created without a primary do not all have the same, also not those of one batch, on nodes whose
// disks are as full as each other.
func TestPrimariesTakeTurns(t *testing.T) {
	var free atomic.Uint64
	free.Store(1 << 29)
	c := newCellWith(t, 3, 0, func(cfg *Config) { cfg.FS = smallDisk{vfs.OS{}, &free} })
	subs := make([]wire.Submission, 12)
	for i := range subs {
		subs[i] = wire.Submission{Kind: "create"}
	}
	primaries := map[state.NodeID]int{}
	for _, op := range c.run(subs...) {
		c.until("it is made", func(n *Node) bool { return n.log.View().Extent(state.ExtentID(op.Extent)) != nil })
		primaries[c.nodes["n1"].log.View().Extent(state.ExtentID(op.Extent)).Primary()]++
	}
	for id, count := range primaries {
		if count > 6 {
			t.Errorf("%s is the primary of %d of %d extents: %v", id, count, len(subs), primaries)
		}
	}
}
