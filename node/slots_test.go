package node

import (
	"bytes"
	"testing"

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
		if _, err := c.client.Put(testContext(t), bytes.NewReader(pattern(2, 10)), client.PutOptions{Extent: made.Extent}); err != nil {
			t.Fatal(err)
		}
		if open := n.appends.open(); open != 2 {
			t.Fatalf("%d open extents, want that of the put and the named one", open)
		}
		c.run(wire.Submission{Kind: kind, Extent: loc.Extent}, wire.Submission{Kind: kind, Extent: made.Extent})
		c.untilTrue("they have given back their places", func() bool { return n.appends.open() == 0 })
	}
}

// A create for which there is no place is refused before it costs an entry.
func TestNoSlotNoEntry(t *testing.T) {
	c := newCell(t, 1, 0)
	n := c.nodes["n1"]
	n.appends.mu.Lock()
	n.appends.reserved = maxOpenExtents
	n.appends.mu.Unlock()
	made := n.log.View().NextExtent
	one := client.New(client.Options{Addrs: []string{n.Addr()}, Name: t.Name(), RetryFor: 1})
	defer one.Close()
	for _, size := range []int{10, 3 << 20} {
		if _, err := one.Put(testContext(t), bytes.NewReader(pattern(1, size)), client.PutOptions{}); err == nil {
			t.Errorf("%d bytes are stored in an extent too many", size)
		}
	}
	if next := n.log.View().NextExtent; next != made {
		t.Errorf("%d extents were made in vain", next-made)
	}
	n.appends.mu.Lock()
	n.appends.reserved = 0
	n.appends.mu.Unlock()
	c.put(pattern(1, 10))
}

// What nobody has put to for long is sealed; one that is in use, or was, is not.
func TestIdleExtentsAreSealed(t *testing.T) {
	c := newCell(t, 1, 0)
	n := c.nodes["n1"]
	id := state.ExtentID(c.put(pattern(1, 100)).Extent)
	for range idleLooks - 1 {
		n.appends.tidy(testContext(t))
	}
	if again := state.ExtentID(c.put(pattern(2, 100)).Extent); again != id {
		t.Fatalf("the second put is in extent %d, want %d", again, id)
	}
	for range idleLooks - 1 {
		n.appends.tidy(testContext(t))
	}
	if e := n.log.View().Extent(id); e.State != state.ExtentOpen || n.appends.open() != 1 {
		t.Fatalf("%v, although it was put to", e)
	}
	n.appends.tidy(testContext(t))
	c.until("it is sealed", func(n *Node) bool { return n.log.View().Extent(id).State == state.ExtentSealed })
	if open := n.appends.open(); open != 0 {
		t.Errorf("%d open extents are left", open)
	}
}

// The first appender that becomes free is taken, whichever that is, and not one that takes no more.
func TestFirstFreeAppender(t *testing.T) {
	list := make([]*appender, openPerTenant)
	for i := range list {
		list[i] = &appender{extent: &state.Extent{ID: state.ExtentID(i + 1)}, turn: make(chan struct{}, 1)}
	}
	made := make(chan struct{})
	for i, ap := range list {
		ap.turn <- struct{}{}
		if got, err := firstFree(testContext(t), list, made); err != nil || got != ap {
			t.Errorf("got %v, %v; want appender %d", got, err, i)
		}
	}
	list[2].broken = wire.Errorf(wire.OpAppend, wire.CodePrecondition, "it is full")
	list[2].turn <- struct{}{}
	if got, err := firstFree(testContext(t), list, made); err != nil || got != nil || len(list[2].turn) != 1 {
		t.Errorf("got %v, %v; want none, and the turn of the full one given back", got, err)
	}
	<-list[2].turn
	close(made)
	if got, err := firstFree(testContext(t), list[:3], made); err != nil || got != nil {
		t.Errorf("got %v, %v; want none when one was made", got, err)
	}
}

// Extents that are created without a primary do not all have the same, also not those of one batch.
func TestPrimariesTakeTurns(t *testing.T) {
	c := newCell(t, 3, 0)
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
