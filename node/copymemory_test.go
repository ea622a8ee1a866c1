package node

import (
	"log/slog"
	"testing"
	"time"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// without is a node that has no replica of an extent.
func (c *cell) without(e *state.Extent) string {
	for id := range c.nodes {
		if _, holds := e.Replica(state.NodeID(id)); !holds {
			return id
		}
	}
	c.t.Fatalf("every node has a replica of extent %d", e.ID)
	return ""
}

// A hundred copies run at once, many more than there is memory for: all are done, and no node has held more than it
// may.
func TestManyCopiesKeepToTheirMemory(t *testing.T) {
	t.Parallel()
	const extents = 100
	c := newCellWith(t, 3, 1, func(cfg *Config) {
		cfg.RepairMemory = LeastRepairMemory
		cfg.Settings["repair-delay"] = "720h"
	})
	c.set("copies-per-source", "1000")
	c.set("copies-per-target", "1000")
	c.set("max-running", "1000")
	c.set("copy-pace", "64Ki") // so that all that may be are there at once
	var moves []wire.Submission
	for i := range extents {
		loc := c.sealed(pattern(uint64(i), 8<<10))
		e := c.any().log.View().Extent(state.ExtentID(loc.Extent))
		moves = append(moves, wire.Submission{Kind: "move", Extent: loc.Extent, Target: c.without(e),
			Node: string(e.Replicas[i%len(e.Replicas)].Node)})
	}
	// At once, or the first would be done before the last has begun.
	res, err := c.client.Submit(testContext(t), moves, client.SubmitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range res {
		if r.Code != 0 {
			t.Fatalf("%+v", r)
		}
	}
	c.until("many run at once", func(n *Node) bool { return n.log.View().Counts().Running > extents/2 })
	c.set("copy-pace", "0")
	c.until("all are done", func(n *Node) bool {
		counts := n.log.View().Counts()
		return counts.Running == 0 && counts.Queued == 0
	})
	held := int64(0)
	for id, n := range c.nodes {
		if most := n.copyMemory.Most(); most > LeastRepairMemory {
			t.Errorf("copies at %s held %d bytes at once, want at most %d", id, most, LeastRepairMemory)
		} else {
			held = max(held, most)
		}
		if n.copyMemory.Bytes() != 0 {
			t.Errorf("%s has %d bytes of copies, and none runs", id, n.copyMemory.Bytes())
		}
	}
	if held < LeastRepairMemory/2 {
		t.Errorf("copies held %d bytes at most: so few say nothing", held)
	}
	c.whole()
}

// No source has memory for one more copy: that waits, in its attempt, and goes on when one has.
func TestSourcesWithoutMemory(t *testing.T) {
	t.Parallel()
	went := &wentOn{}
	c := newCellWith(t, 3, 1, func(cfg *Config) {
		cfg.RepairMemory = LeastRepairMemory
		cfg.Settings["repair-delay"] = "720h"
		cfg.Logger = slog.New(&passing{to: went, Handler: cfg.Logger.Handler()})
	})
	loc := c.sealed(pattern(1, 1<<20))
	var back []func()
	for id, n := range c.nodes {
		for n.copyMemory.Bytes() < LeastRepairMemory/4 {
			done, err := n.copyMemory.ToSend(testContext(t), state.NodeID(id), time.Second)
			if err != nil {
				t.Fatal(err)
			}
			back = append(back, done)
		}
	}
	e := c.any().log.View().Extent(state.ExtentID(loc.Extent))
	from := string(e.Replicas[0].Node)
	op := c.submitted(wire.Submission{Kind: "move", Extent: loc.Extent, Target: c.without(e), Node: from})
	// With the third it has asked each once, and begun anew.
	c.untilTrue("all were asked", func() bool { return len(went.offsets()) >= len(e.Replicas) })
	for _, done := range back {
		done()
	}
	if o := c.ended(op); o.Attempts != 1 {
		t.Errorf("it took %d attempts: %+v", o.Attempts, o)
	}
	c.whole()
}
