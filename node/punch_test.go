package node

import (
	"bytes"
	"strings"
	"testing"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// punched deletes locators and fails for any that is refused.
func (c *cell) punched(locs ...wire.Locator) {
	c.t.Helper()
	refused, err := c.client.Delete(testContext(c.t), locs)
	if err != nil {
		c.t.Fatal(err)
	}
	for i, no := range refused {
		if no != nil {
			c.t.Fatalf("%s: %v", locs[i], no)
		}
	}
}

// deletedEverywhere makes sure that no node gives a byte of a locator, and that each says why.
func (c *cell) deletedEverywhere(loc wire.Locator) {
	c.t.Helper()
	for id := range c.nodes {
		got, err := c.get(loc, id)
		if len(got) > 0 || wire.CodeOf(err) != wire.CodeNotFound || !strings.Contains(err.Error(), "deleted") {
			c.t.Errorf("%s on %s: %d bytes, %v", loc, id, len(got), err)
		}
	}
}

// What is deleted of an extent is deleted on every replica, whether that is open or sealed, and after a restart; what
// was stored beside it stays, and no replica is suspect because of it. Once all of it is deleted, so is the extent.
func TestDeleteOfRanges(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	var locs []wire.Locator
	for i := range 3 {
		locs = append(locs, c.put(pattern(uint64(i), 4000)))
	}
	kept := locs[1]
	c.punched(locs[0])
	c.deletedEverywhere(locs[0])
	c.deletedEverywhere(wire.Locator{Extent: locs[0].Extent, Offset: locs[0].Offset + 3999, Length: 1})
	refused, err := c.client.Delete(testContext(t), locs[:1])
	if err != nil || wire.CodeOf(refused[0]) != wire.CodeNotFound {
		t.Errorf("deleted twice: %v, %v", refused, err)
	}
	for _, id := range extentsOf(locs) {
		c.run(wire.Submission{Kind: "seal", Extent: id})
	}
	c.punched(locs[2])
	check := func(when string) {
		t.Helper()
		c.deletedEverywhere(locs[0])
		c.deletedEverywhere(locs[2])
		for id := range c.nodes {
			if got, err := c.get(kept, id); err != nil || !bytes.Equal(got, pattern(1, 4000)) {
				t.Errorf("%s: what is kept, on %s: %d bytes, %v", when, id, len(got), err)
			}
		}
		verified, err := c.client.Verify(testContext(t), kept.Extent)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range verified {
			if !v.OK {
				t.Errorf("%s: %+v", when, v)
			}
		}
	}
	check("sealed")
	for _, id := range []string{"n1", "n2", "n3"} {
		c.kill(id)
		c.start(id)
		c.ready(id)
	}
	c.up(3)
	check("after a restart")
	c.until("nobody is suspect", func(n *Node) bool {
		e := n.log.View().Extent(state.ExtentID(kept.Extent))
		return e.Whole() == 3
	})
	c.punched(kept)
	c.until("empty extents are deleted", func(n *Node) bool {
		gone := true
		for _, id := range extentsOf(locs) {
			gone = gone && n.log.View().Extent(state.ExtentID(id)) == nil
		}
		return gone
	})
}

func extentsOf(locs []wire.Locator) (ids []uint64) {
	seen := map[uint64]bool{}
	for _, l := range locs {
		if !seen[l.Extent] {
			ids = append(ids, l.Extent)
		}
		seen[l.Extent] = true
	}
	return ids
}

// What nobody has stored yet is not deleted before it is: a range of an open extent ends where the extent does. What is
// wrong otherwise is refused by name, and the rest of the request goes.
func TestDeleteRefusesWhatIsNotThere(t *testing.T) {
	t.Parallel()
	c := newCell(t, 4, 0) // one of them has no replica, and may lead
	loc := c.put(pattern(1, 4000))
	at := func(offset, length uint64) wire.Locator {
		return wire.Locator{Extent: loc.Extent, Offset: loc.Offset + offset, Length: length, Birth: loc.Birth}
	}
	other := at(0, 10)
	other.Birth++
	locs := []wire.Locator{
		at(3999, 2), at(4000, 1), at(0, 0), at(0, 1<<63), {Extent: 999, Length: 1}, other, at(10, 20), at(15, 10), at(5, 10),
	}
	codes := []wire.Code{
		wire.CodeNotFound, wire.CodeNotFound, wire.CodeInvalid, wire.CodeNotFound, wire.CodeNotFound, wire.CodeNotFound,
		0, wire.CodeNotFound, 0,
	}
	for range 2 { // asked first, then done
		refused, err := c.client.CheckDelete(testContext(t), locs)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 6 {
			if wire.CodeOf(refused[i]) != codes[i] {
				t.Errorf("check of %s: %v, want code %s", locs[i], refused[i], codes[i])
			}
		}
	}
	refused, err := c.client.Delete(testContext(t), locs)
	if err != nil {
		t.Fatal(err)
	}
	for i, no := range refused {
		if wire.CodeOf(no) != codes[i] {
			t.Errorf("%s: %v, want code %s", locs[i], no, codes[i])
		}
	}
	if got, err := c.get(at(30, 3970), ""); err != nil || !bytes.Equal(got, pattern(1, 4000)[30:]) {
		t.Errorf("behind what was deleted: %d bytes, %v", len(got), err)
	}
	for _, part := range []wire.Locator{at(0, 6), at(4, 2), at(29, 2), at(0, 4000)} {
		c.deletedEverywhereOf(part)
	}
	next := c.put(pattern(2, 4000))
	if got, err := c.get(next, ""); err != nil || !bytes.Equal(got, pattern(2, 4000)) {
		t.Errorf("put after it: %d bytes, %v", len(got), err)
	}
}

// deletedEverywhereOf is deletedEverywhere by way of any node, whichever has a replica.
func (c *cell) deletedEverywhereOf(loc wire.Locator) {
	c.t.Helper()
	got, err := c.get(loc, "")
	if len(got) > 0 || wire.CodeOf(err) != wire.CodeNotFound || !strings.Contains(err.Error(), "deleted") {
		c.t.Errorf("%s: %d bytes, %v", loc, len(got), err)
	}
}

// While a node of an older build is in the cell, nothing is deleted that it would go on to read.
func TestDeleteOfRangesWaitsForTheLastNode(t *testing.T) {
	t.Parallel()
	c := newCell(t, 1, 0)
	c.joins("n9", state.LevelPunched-1)
	down := &state.SetNodeState{Node: "n9", State: state.NodeDown}
	if err := c.nodes["n1"].lead.Propose(testContext(t), down); err != nil {
		t.Fatal(err)
	}
	loc := c.put(pattern(1, 4000)) // the cell knows n9 already, so that this makes it take nothing newer
	_, err := c.client.Delete(testContext(t), []wire.Locator{loc})
	if wire.CodeOf(err) != wire.CodePrecondition || !strings.Contains(err.Error(), "n9") ||
		!strings.Contains(err.Error(), "newer build") {
		t.Errorf("with an older node: %v", err)
	}
	if got, err := c.get(loc, ""); err != nil || len(got) != 4000 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	c.joins("n9", state.LevelPunched)
	c.punched(loc)
	c.deletedEverywhere(loc)
}

// What is deleted is punched on each node, and that is no rot: replicas verify, also those that are copied from punched
// ones, and what is kept is read. A log that does not know of the deletes any more gets no zeros.
func TestDeletedIsPunched(t *testing.T) {
	t.Parallel()
	c := newCell(t, 4, 0)
	var locs, gone, kept []wire.Locator
	for i := range 40 {
		locs = append(locs, c.put(pattern(uint64(i), 4000)))
	}
	for i, loc := range locs {
		if i%10 == 3 {
			kept = append(kept, loc)
		} else {
			gone = append(gone, loc)
		}
	}
	for _, id := range extentsOf(locs) {
		c.run(wire.Submission{Kind: "seal", Extent: id})
	}
	c.punched(gone...)
	sweep := func() {
		for _, n := range c.nodes {
			if err := n.catchUp(testContext(t)); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the first sees that nothing more is deleted
				n.reclaim.Sweep(testContext(t))
			}
		}
	}
	sweep()
	c.punchedOnDisks("punched", locs, gone, kept)
	for _, id := range extentsOf(locs) {
		from := c.nodes["n1"].log.View().Extent(state.ExtentID(id)).Replicas[0].Node
		if ops := c.run(wire.Submission{Kind: "move", Extent: id, Node: string(from)}); ops[0].State != "done" {
			t.Fatalf("%+v", ops)
		}
	}
	sweep()
	c.punchedOnDisks("copied", locs, gone, kept)
}

// punchedOnDisks makes sure that what is gone is zeros in every store and refused there, that what is kept is read, and
// that every replica verifies.
func (c *cell) punchedOnDisks(when string, locs, gone, kept []wire.Locator) {
	c.t.Helper()
	zeros := 0
	for _, loc := range gone {
		c.deletedEverywhereOf(loc)
		for id, n := range c.nodes {
			if _, holds := n.log.View().Extent(state.ExtentID(loc.Extent)).Replica(n.id); !holds {
				continue
			}
			_, _, err := n.store.ReadSum(extent.ID(loc.Extent), make([]byte, 1), loc.Offset)
			if extent.CodeOf(err) != extent.CodePunched {
				c.t.Errorf("%s: %s at the store of %s: %v", when, loc, id, err)
			}
			p := make([]byte, 4000)
			if _, err := n.store.ReadAt(extent.ID(loc.Extent), p, loc.Offset); err != nil {
				c.t.Fatal(err)
			}
			zeros += bytes.Count(p, []byte{0})
		}
	}
	if zeros < len(gone)*3*3900 {
		c.t.Errorf("%s: %d zeros in the place of %d objects", when, zeros, len(gone))
	}
	for _, loc := range kept {
		if got, err := c.get(loc, ""); err != nil || len(got) != 4000 {
			c.t.Errorf("%s: what is kept: %d bytes, %v", when, len(got), err)
		}
	}
	for _, id := range extentsOf(locs) {
		verified, err := c.client.Verify(testContext(c.t), id)
		if err != nil || len(verified) != 3 {
			c.t.Fatalf("%s: %d replicas verified, %v", when, len(verified), err)
		}
		for _, v := range verified {
			if !v.OK {
				c.t.Errorf("%s: extent %d: %+v", when, id, v)
			}
		}
	}
}

// Who deletes something and is told so can ask any node right afterwards, and knows nothing of the log that the node
// could go by.
func TestDeletedMeansAtEveryNode(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	strangers := map[string]*client.Client{}
	for id := range c.nodes {
		strangers[id] = c.asAt(id, nil)
	}
	for i := range 20 {
		loc := c.put(pattern(uint64(i), 4000))
		c.punched(loc)
		for id, one := range strangers {
			var got bytes.Buffer
			_, err := one.Read(testContext(t), wire.ReadRequest{Locator: loc, Node: id}, &got)
			if got.Len() > 0 || wire.CodeOf(err) != wire.CodeNotFound {
				t.Fatalf("round %d, %s: %d bytes, %v", i, id, got.Len(), err)
			}
		}
	}
}
