package node

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

const hour = 3_600_000_000 // microseconds

// keptSince deletes an extent with grace, and waits until every node has heard of it.
func (c *cell) keptSince(loc wire.Locator, graceMicros uint64) {
	c.t.Helper()
	op := c.run(wire.Submission{Kind: "delete", Extent: loc.Extent, GraceMicros: graceMicros})[0]
	if op.State != "done" {
		c.t.Fatalf("the delete is %s: %s", op.State, op.Detail)
	}
	c.until("deleted", func(n *Node) bool {
		e := n.log.View().Extent(state.ExtentID(loc.Extent))
		return e == nil || e.State == state.ExtentDeleted
	})
}

// wantRefusal expects a code, and words in the refusal.
func wantRefusal(t *testing.T, what string, err error, code wire.Code, words ...string) {
	t.Helper()
	if wire.CodeOf(err) != code {
		t.Errorf("%s: %v, want %s", what, err, code)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %v, want a word of %q", what, err, w)
		}
	}
}

// sameEverywhere compares all of a locator, by way of each node, and has each replica read in full.
func (c *cell) sameEverywhere(loc wire.Locator, want []byte, replicas int) {
	c.t.Helper()
	for id := range c.nodes {
		var got bytes.Buffer
		if err := c.readVia(id, loc, &got); err != nil || !bytes.Equal(got.Bytes(), want) {
			c.t.Errorf("by way of %s: %d of %d bytes, %v", id, got.Len(), len(want), err)
		}
	}
	c.verified(loc.Extent, replicas)
}

// What is deleted with grace is deleted for everybody, and every byte of it is back after an undelete; a node that was
// down meanwhile has kept its file, and nothing was repaired in its place.
func TestUndelete(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 1)
	p, other := pattern(1, 3<<20), pattern(2, 1<<20)
	loc, repaired := c.sealed(p), c.sealed(other)
	down := ""
	e := c.any().log.View().Extent(state.ExtentID(loc.Extent))
	for _, r := range c.any().log.View().Extent(state.ExtentID(repaired.Extent)).Replicas {
		if _, both := e.Replica(r.Node); both {
			down = string(r.Node)
		}
	}
	before := c.extent(loc.Extent)
	c.keptSince(loc, hour)
	c.kill(down)
	c.up(3)
	c.until("the other extent is repaired", func(n *Node) bool {
		o := n.log.View().Extent(state.ExtentID(repaired.Extent))
		_, still := o.Replica(state.NodeID(down))
		return !still && len(o.Ops) == 0
	})
	if now := c.any().log.View().Extent(e.ID); len(now.Replicas) != 3 || len(now.Ops) != 0 || !now.Kept() {
		t.Errorf("while it is kept: %s", now)
	}
	_, err := c.get(loc, "")
	wantRefusal(t, "a read", err, wire.CodeNotFound, "deleted", "undelete")

	c.start(down)
	c.ready(down)
	c.up(4)
	_, err = c.get(loc, down)
	wantRefusal(t, "a read at the node that was down", err, wire.CodeNotFound, "deleted", "undelete")
	back, err := c.client.Undelete(testContext(t), loc.Extent, loc.Birth)
	if err != nil || back.State != "sealed" || back.Birth != before.Birth || back.Sum != before.Sum {
		t.Fatalf("undelete: %+v %v, before %+v", back, err, before)
	}
	c.sameEverywhere(loc, p, 3)
	_, err = c.client.Undelete(testContext(t), loc.Extent, 0)
	wantRefusal(t, "a second undelete", err, wire.CodePrecondition, "not deleted")
}

// extent is what the cell says of one.
func (c *cell) extent(id uint64) wire.Extent {
	c.t.Helper()
	e, err := c.client.Extent(testContext(c.t), id)
	if err != nil {
		c.t.Fatal(err)
	}
	return e
}

// A node that is away while a grace ends, for longer than the log reaches back, has the file still when it comes back:
// it drops it, and nobody brings the extent back.
func TestGraceEndsWhileAway(t *testing.T) {
	t.Parallel()
	c := newCellWith(t, 3, 0, func(cfg *Config) { cfg.trailingLogs = 4 })
	loc := c.sealed(pattern(1, 1<<20))
	away := c.follower()
	c.keptSince(loc, 1_000_000)
	c.kill(away)
	c.up(2)
	c.until("the grace is over, and the others have dropped their files", func(n *Node) bool {
		e := n.log.View().Extent(state.ExtentID(loc.Extent))
		return e != nil && !e.Kept() && len(e.Former) == 1
	})
	_, err := c.client.Undelete(testContext(t), loc.Extent, 0)
	wantRefusal(t, "a late undelete", err, wire.CodePrecondition, "its grace ended at")
	c.outrunLog()
	if _, err := os.Stat(c.file(away, loc.Extent)); err != nil {
		t.Fatalf("the file on %s: %v", away, err)
	}
	c.start(away)
	c.ready(away)
	_, err = c.get(loc, away)
	wantRefusal(t, "a read at "+away, err, wire.CodeNotFound, "deleted")
	c.until("the tombstone is forgotten", func(n *Node) bool {
		return n.log.View().Extent(state.ExtentID(loc.Extent)) == nil
	})
	if _, err := os.Stat(c.file(away, loc.Extent)); !os.IsNotExist(err) {
		t.Errorf("the file on %s: %v", away, err)
	}
	_, err = c.client.Undelete(testContext(t), loc.Extent, 0)
	wantRefusal(t, "an undelete of what is forgotten", err, wire.CodeNotFound, "every file of it is gone")
}

// outrunLog has the nodes take snapshots, until none of their logs has an entry of before.
func (c *cell) outrunLog() {
	c.t.Helper()
	last := c.any().log.AppliedIndex()
	for _, n := range c.nodes {
		for first := state.Index(0); first <= last; {
			if err := c.client.SetSetting(testContext(c.t), "max-running", "256"); err != nil {
				c.t.Fatal(err)
			}
			var err error
			if err = n.log.Snapshot(testContext(c.t)); err == nil {
				first, err = n.log.FirstIndex()
			}
			if err != nil {
				c.t.Fatal(err)
			}
		}
	}
}

// A node that is emptied gives its replicas of what is kept to others, from where an undelete brings them back.
func TestDecommissionMovesWhatIsKept(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 1)
	p := pattern(1, 1<<20)
	loc := c.sealed(p)
	node := string(c.any().log.View().Extent(state.ExtentID(loc.Extent)).Replicas[0].Node)
	c.keptSince(loc, hour)
	if op := c.run(wire.Submission{Kind: "decommission", Node: node})[0]; op.State != "done" {
		t.Fatalf("the decommission is %s: %s", op.State, op.Detail)
	}
	c.until("its file there is gone", func(n *Node) bool {
		e := n.log.View().Extent(state.ExtentID(loc.Extent))
		return e.Kept() && len(e.Former) == 0 && !e.MayHoldFile(state.NodeID(node)) && e.Whole() == 3
	})
	if _, err := c.client.Undelete(testContext(t), loc.Extent, 0); err != nil {
		t.Fatal(err)
	}
	c.sameEverywhere(loc, p, 3)
}

// The setting holds for deletes that do not say; a repeated delete does not end a grace, and one that says so does.
func TestDeleteGraceOfTheCell(t *testing.T) {
	t.Parallel()
	c := newCellWith(t, 1, 0, func(cfg *Config) { cfg.Settings["delete-grace"] = "1h" })
	loc := c.sealed(pattern(1, 1<<20))
	c.keptSince(loc, 0)
	e := c.any().log.View().Extent(state.ExtentID(loc.Extent))
	if kept := e.KeptUntil - c.any().log.View().NowMicros; !e.Kept() || kept > hour || kept < hour/2 {
		t.Fatalf("%s is kept for %s", e, kept.Duration())
	}
	for _, again := range []wire.Submission{
		{Kind: "delete", Extent: loc.Extent}, {Kind: "delete", Extent: loc.Extent, GraceMicros: 1000},
	} {
		if res := c.submit(client.SubmitOptions{}, again); res.Code != wire.CodeNotFound {
			t.Errorf("a repeated delete: %+v", res)
		}
	}
	res := c.submit(client.SubmitOptions{},
		wire.Submission{Kind: "delete", Extent: loc.Extent, GraceMicros: 1, NoGrace: true})
	if res.Code != wire.CodeInvalid {
		t.Errorf("a delete with and without grace: %+v", res)
	}
	open := c.put(pattern(2, 100))
	if res := c.submit(client.SubmitOptions{}, wire.Submission{Kind: "delete", Extent: open.Extent}); res.Code !=
		wire.CodePrecondition || !strings.Contains(res.Detail, "seal it first") {
		t.Errorf("a delete of an open extent: %+v", res)
	}
	c.run(wire.Submission{Kind: "delete", Extent: loc.Extent, NoGrace: true},
		wire.Submission{Kind: "delete", Extent: open.Extent, NoGrace: true})
	for _, l := range []wire.Locator{loc, open} {
		_, err := c.client.Undelete(testContext(t), l.Extent, 0)
		wantRefusal(t, "an undelete of what has gone", err, wire.CodeNotFound)
	}
}
