package node

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// file is where a node keeps its replica of an extent.
func (c *cell) file(node string, id uint64) string {
	return filepath.Join(c.configs[node].Dir, "store", "extents", fmt.Sprintf("%02x", byte(id)), fmt.Sprintf("%d.ext", id))
}

// flip changes one byte of a file.
func flip(t *testing.T, path string, at int64) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[at] ^= 0x40
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// sealed is the locator of bytes that fill a sealed extent of their own.
func (c *cell) sealed(p []byte) wire.Locator {
	c.t.Helper()
	loc := c.put(p)
	// A large put has its extent sealed by itself, so that this one may come too late.
	if res := c.submit(client.SubmitOptions{}, wire.Submission{
		Kind: "seal", Extent: loc.Extent,
	}); res.Code != 0 && res.Code != wire.CodePrecondition {
		c.t.Fatal(res.Detail)
	}
	c.until("sealed everywhere", func(n *Node) bool {
		e := n.log.View().Extent(state.ExtentID(loc.Extent))
		return e != nil && e.State == state.ExtentSealed
	})
	return loc
}

// verified reports whether every replica of an extent is what the log says.
func (c *cell) verified(id uint64, replicas int) {
	c.t.Helper()
	found, err := c.client.Verify(testContext(c.t), id)
	if err != nil || len(found) != replicas {
		c.t.Fatalf("verify of extent %d: %v %v", id, found, err)
	}
	for _, v := range found {
		if !v.OK {
			c.t.Errorf("replica of extent %d on %s: %s", id, v.Node, v.Detail)
		}
	}
}

// repairs counts the done repairs of an extent. Who met the damage before the first and says so after it causes
// another.
func repairs(view *state.View, id uint64) int {
	done := 0
	view.Ops(0, func(o *state.Op) bool {
		if uint64(o.Extent) == id && o.Kind.String() == "repair" && o.State == state.OpDone {
			done++
		}
		return true
	})
	return done
}

// A byte that rots on one disk is noticed by the read that meets it, served from another replica, and
// repaired where it is.
func TestRot(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	want := pattern(1, 2<<20)
	loc := c.sealed(want)
	flip(t, c.file("n2", loc.Extent), 1<<20)
	if _, err := c.get(loc, "n2"); wire.CodeOf(err) != wire.CodeCorrupt {
		t.Fatalf("read of the rotten replica itself: %v", err)
	}
	var got bytes.Buffer
	if err := c.readVia("n2", loc, &got); err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Fatalf("read by way of the node with the rotten replica: %d bytes, %v", got.Len(), err)
	}
	c.until("repaired", func(n *Node) bool { return repairs(n.log.View(), loc.Extent) >= 1 })
	c.whole()
	c.verified(loc.Extent, 3)
	if got, err := c.get(loc, "n2"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("after the repair: %d bytes, %v", len(got), err)
	}
}

// A disk that was emptied under a node is noticed before the node serves: all that was on it is
// repaired, none of it counted as there.
func TestLostDisk(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	var locs []wire.Locator
	for i := range 10 {
		locs = append(locs, c.sealed(pattern(uint64(i), appendPiece+i)))
	}
	open := c.put(pattern(99, 1000))
	c.kill("n3")
	if err := os.RemoveAll(filepath.Join(c.configs["n3"].Dir, "store")); err != nil {
		t.Fatal(err)
	}
	c.start("n3")
	c.ready("n3")
	view := c.nodes[c.leader()].log.View()
	for _, loc := range locs {
		e := view.Extent(state.ExtentID(loc.Extent))
		if r, _ := e.Replica("n3"); r.State == state.ReplicaWhole && repairs(view, loc.Extent) == 0 {
			t.Errorf("n3 serves, and its lost replica of extent %d counts as whole", loc.Extent)
		}
	}
	c.until("the open extent is sealed", func(n *Node) bool {
		return n.log.View().Extent(state.ExtentID(open.Extent)).State == state.ExtentSealed
	})
	c.whole()
	for _, loc := range append(locs, open) {
		c.verified(loc.Extent, 3)
	}
}

// A replica that cannot be used at all must not cut what the others have acknowledged.
func TestSealWithBrokenReplica(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	want := pattern(5, 100_000)
	loc := c.put(want)
	primary := c.any().log.View().Extent(state.ExtentID(loc.Extent)).Primary()
	broken := "n1"
	if primary == "n1" {
		broken = "n2"
	}
	c.kill(broken)
	flip(t, c.file(broken, loc.Extent), 0) // the header: nothing in the file can be trusted any more
	c.start(broken)
	c.ready(broken)
	c.until("sealed", func(n *Node) bool {
		return n.log.View().Extent(state.ExtentID(loc.Extent)).State == state.ExtentSealed
	})
	if e := c.any().log.View().Extent(state.ExtentID(loc.Extent)); e.Length != uint64(len(want)) {
		t.Fatalf("sealed at %d of %d acknowledged bytes", e.Length, len(want))
	}
	c.whole()
	c.verified(loc.Extent, 3)
	if got, err := c.get(loc, broken); err != nil || !bytes.Equal(got, want) {
		t.Errorf("after the repair: %d bytes, %v", len(got), err)
	}
}

// Files that the log does not explain are put aside, not served and not removed.
func TestUnknownFile(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	loc := c.sealed(pattern(1, appendPiece+1))
	from := c.file("n1", loc.Extent)
	c.run(wire.Submission{Kind: "delete", Extent: loc.Extent})
	raw := pattern(7, 4096)
	c.kill("n1")
	to := c.file("n1", 777)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	c.start("n1")
	c.ready("n1")
	aside, err := filepath.Glob(filepath.Join(c.configs["n1"].Dir, "store", "quarantine", "777.*"))
	if err != nil || len(aside) == 0 {
		t.Errorf("nothing in quarantine: %v %v", aside, err)
	}
	if _, err := os.Stat(from); !os.IsNotExist(err) {
		t.Errorf("file of a deleted extent: %v", err)
	}
	if slices.Contains(c.nodes["n1"].store.IDs(), 777) {
		t.Error("the unknown file counts as a replica")
	}
}

// A delete takes effect while a node is down. The node drops the file before it serves, and only
// then is the tombstone forgotten.
func TestDeleteWhileDown(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	loc := c.sealed(pattern(1, appendPiece+1))
	c.kill("n2")
	c.up(2)
	ops := c.run(wire.Submission{Kind: "delete", Extent: loc.Extent})
	if ops[0].State != "done" {
		t.Fatalf("delete is %s: %s", ops[0].State, ops[0].Detail)
	}
	if e := c.any().log.View().Extent(state.ExtentID(loc.Extent)); e == nil || e.State != state.ExtentDeleted {
		t.Fatalf("the tombstone is gone while n2 has the file: %+v", e)
	}
	c.start("n2")
	c.ready("n2")
	if _, err := c.get(loc, "n2"); wire.CodeOf(err) != wire.CodeNotFound {
		t.Errorf("n2 serves a deleted extent: %v", err)
	}
	c.until("the tombstone is forgotten", func(n *Node) bool {
		return n.log.View().Extent(state.ExtentID(loc.Extent)) == nil
	})
	if _, err := os.Stat(c.file("n2", loc.Extent)); !os.IsNotExist(err) {
		t.Errorf("the file on n2: %v", err)
	}
}

// A delete ends the repair that is under way, and nothing of the copy stays on its target.
func TestDeleteSupersedesRepair(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 1)
	loc := c.sealed(pattern(1, 32<<20))
	e := c.any().log.View().Extent(state.ExtentID(loc.Extent))
	c.kill(string(e.Replicas[2].Node))
	var repair *state.Op
	c.until("a repair runs", func(n *Node) bool {
		n.log.View().Ops(0, func(o *state.Op) bool {
			if o.Extent == e.ID && o.Kind.String() == "repair" && o.Fence != 0 {
				repair = o
			}
			return repair == nil
		})
		return repair != nil
	})
	ops := c.run(wire.Submission{Kind: "delete", Extent: loc.Extent})
	if ops[0].State != "done" {
		t.Fatalf("delete is %s: %s", ops[0].State, ops[0].Detail)
	}
	t.Logf("the repair was %s", c.any().log.View().Op(repair.ID).State)
	for id, n := range c.nodes {
		if info, err := n.store.Stat(extent.ID(loc.Extent)); extent.CodeOf(err) != extent.CodeNotFound {
			t.Errorf("%s still has %+v of the deleted extent, %v", id, info, err)
		}
	}
}

// A replica that rots is reported by the read that meets it, also by one of that very replica.
func TestRotUnderNamedRead(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	want := pattern(1, 2<<20)
	loc := c.sealed(want)
	flip(t, c.file("n3", loc.Extent), 1<<20)
	if _, err := c.get(loc, "n3"); wire.CodeOf(err) != wire.CodeCorrupt {
		t.Fatalf("read of the rotten replica itself: %v", err)
	}
	c.until("repaired", func(n *Node) bool { return repairs(n.log.View(), loc.Extent) >= 1 })
	c.whole()
	c.verified(loc.Extent, 3)
}

// Rot in an open extent, in what was acknowledged, has it sealed, and the replica that the seal does not confirm is
// made anew.
func TestRotInOpenExtent(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	want := pattern(1, 500_000)
	loc := c.put(want)
	// More behind it, so that the rot is not in the last append, which could be a torn one.
	if _, err := c.client.Put(testContext(t), bytes.NewReader(pattern(2, 1000)),
		client.PutOptions{Extent: loc.Extent, Length: 1000}); err != nil {
		t.Fatal(err)
	}
	flip(t, c.file("n3", loc.Extent), 250_000)
	if _, err := c.get(loc, "n3"); wire.CodeOf(err) != wire.CodeCorrupt {
		t.Fatalf("read of the rotten replica itself: %v", err)
	}
	c.until("sealed and repaired", func(n *Node) bool {
		e := n.log.View().Extent(state.ExtentID(loc.Extent))
		return e.State == state.ExtentSealed && repairs(n.log.View(), loc.Extent) >= 1
	})
	c.whole()
	c.verified(loc.Extent, 3)
	if got, err := c.get(loc, "n3"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("after the repair: %d bytes, %v", len(got), err)
	}
}

// A replica on a node that is down is neither good nor bad: nobody has looked.
func TestVerifyWithoutANode(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	loc := c.sealed(pattern(1, 100_000))
	c.kill("n3")
	found, err := c.client.Verify(testContext(t), loc.Extent)
	if err != nil || len(found) != 3 {
		t.Fatalf("verify: %v %v", found, err)
	}
	for _, v := range found {
		if down := v.Node == "n3"; v.OK == down || v.Unchecked != down {
			t.Errorf("%+v", v)
		}
	}
	flip(t, c.file("n2", loc.Extent), 50_000)
	found, err = c.client.Verify(testContext(t), loc.Extent)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		if v.OK != (v.Node == "n1") || v.Unchecked != (v.Node == "n3") {
			t.Errorf("with rot on n2: %+v", v)
		}
	}
}
