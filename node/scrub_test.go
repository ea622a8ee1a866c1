package node

import (
	"bytes"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/scrub"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// scrubbed waits until a node's scrub has ended a round that began after the call.
func (c *cell) scrubbed(id string) {
	c.t.Helper()
	ctx, s := testContext(c.t), c.nodes[id].scrub
	for range 2 { // the first to end may have been under way already
		select {
		case <-s.RoundNow():
		case <-ctx.Done():
			c.t.Fatalf("no round of the scrub on %s has ended in time", id)
		}
	}
}

// set changes a setting of the cell.
func (c *cell) set(key, value string) {
	c.t.Helper()
	if err := c.client.SetSetting(testContext(c.t), key, value); err != nil {
		c.t.Fatal(err)
	}
}

// Rot in a replica that nobody reads is found by the scrub of its node, reported, and repaired.
func TestScrubRepairsRot(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	c.set("scrub-pace", "1Gi")
	c.set("scrub-pause", "720h") // rounds are asked for here
	var locs []wire.Locator
	for i := range 5 {
		locs = append(locs, c.sealed(pattern(uint64(i), appendPiece+i*1000)))
	}
	c.scrubbed("n2")
	for _, loc := range locs {
		if c.nodes["n2"].scrub.VerifiedAt(state.ExtentID(loc.Extent)).IsZero() {
			t.Errorf("extent %d was not verified on n2", loc.Extent)
		}
	}
	rotten := locs[3]
	flip(t, c.file("n2", rotten.Extent), 700_000)
	c.scrubbed("n2")
	c.until("repaired", func(n *Node) bool { return repairs(n.log.View(), rotten.Extent) >= 1 })
	c.whole()
	c.verified(rotten.Extent, 3)
	if got, err := c.get(rotten, "n2"); err != nil || !bytes.Equal(got, pattern(3, appendPiece+3000)) {
		t.Errorf("after the repair: %d bytes, %v", len(got), err)
	}
	found, err := c.client.Scrub(testContext(t), "n2", rotten.Extent)
	if err != nil || found.Damage == 0 || found.Verified == 0 || found.Full == 0 || found.Log == 0 ||
		found.Bytes < 5*appendPiece {
		t.Errorf("n2 tells %+v, %v", found, err)
	}
	for _, loc := range locs {
		if loc != rotten && repairs(c.any().log.View(), loc.Extent) != 0 {
			t.Errorf("extent %d was repaired, and was sound", loc.Extent)
		}
	}
}

// A replica whose file is gone, is another extent's, or has other bytes with good checksums is no better than rot.
func TestScrubFindsWhatNoChecksumTells(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	c.set("scrub-pace", "1Gi")
	c.set("scrub-pause", "720h")
	gone, reborn, other := c.sealed(pattern(1, 2*appendPiece)),
		c.sealed(pattern(2, 2*appendPiece)),
		c.sealed(pattern(3, 2*appendPiece))
	if err := os.Remove(c.file("n3", gone.Extent)); err != nil {
		t.Fatal(err)
	}
	rebirth(t, c.file("n3", reborn.Extent), reborn.Birth^1)
	e := c.any().log.View().Extent(state.ExtentID(other.Extent))
	forge(t, c.nodes["n3"].store, e, pattern(4, 2*appendPiece))
	c.scrubbed("n3")
	for _, loc := range []wire.Locator{gone, reborn, other} {
		c.until("repaired", func(n *Node) bool { return repairs(n.log.View(), loc.Extent) >= 1 })
	}
	c.whole()
	for _, loc := range []wire.Locator{gone, reborn, other} {
		c.verified(loc.Extent, 3)
	}
}

// forge puts other bytes in a replica's place, of the same length and with good checksums.
func forge(t *testing.T, store *extent.Store, e *state.Extent, p []byte) {
	t.Helper()
	st, err := store.Stage(extent.ID(e.ID), store.Fence(extent.ID(e.ID)), extent.Birth(e.Birth()))
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Append(p); err != nil {
		t.Fatal(err)
	}
	if err := st.Commit(uint64(len(p)), crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli))); err != nil {
		t.Fatal(err)
	}
}

// The scrub stands still at pace 0, goes on when it is given one, and stops with its node in the middle of a round.
func TestScrubStandsStill(t *testing.T) {
	t.Parallel()
	c := newCell(t, 1, 0)
	c.set("scrub-pace", "0")
	c.set("scrub-pause", "1ms")
	loc := c.sealed(pattern(1, 2*appendPiece))
	s := c.nodes["n1"].scrub
	<-c.nodes["n1"].clock.After(2 * scrub.Look)
	if tells, err := c.client.Scrub(testContext(t), "n1", loc.Extent); err != nil ||
		tells.Pace != 0 || tells.Verified != 0 {
		t.Fatalf("at pace 0: %+v, %v", tells, err)
	}
	c.set("scrub-pace", "1Gi")
	c.untilTrue("verified", func() bool { return !s.VerifiedAt(state.ExtentID(loc.Extent)).IsZero() })
	c.set("scrub-pace", "64Ki") // half a minute for what is there
	c.untilTrue("in the middle of a round", func() bool { return s.Describe().Began != 0 })
	c.kill("n1") // which waits for it
}

// The dates are there after a restart, and a round that was cut short does not begin anew. What was written last is
// read once more, with no round, and is verified as of then: a newer date is no less true.
func TestScrubRemembers(t *testing.T) {
	t.Parallel()
	c := newCell(t, 1, 0)
	c.set("scrub-pace", "1Gi")
	c.set("scrub-pause", "720h")
	loc := c.sealed(pattern(1, 2*appendPiece))
	c.scrubbed("n1")
	c.set("scrub-pace", "0")
	was := c.nodes["n1"].scrub.Describe()
	at := c.nodes["n1"].scrub.VerifiedAt(state.ExtentID(loc.Extent))
	c.kill("n1")
	c.start("n1")
	c.ready("n1")
	now := c.nodes["n1"].scrub
	c.untilTrue("the dates are read", func() bool { return now.Describe().Full != 0 })
	if tells := now.Describe(); tells.Full != was.Full || tells.Log != was.Log || tells.Bytes != 0 ||
		!now.VerifiedAt(state.ExtentID(loc.Extent)).Equal(at) {
		t.Errorf("before the restart %+v and %v, after it %+v and %v",
			was, at, tells, now.VerifiedAt(state.ExtentID(loc.Extent)))
	}
	c.set("scrub-pace", "1Gi")
	c.untilTrue("what was written last is read", func() bool { return now.Describe().Bytes >= 2*appendPiece })
	if tells := now.Describe(); tells.Full != was.Full || tells.Log != was.Log || tells.Damage != 0 ||
		now.VerifiedAt(state.ExtentID(loc.Extent)).Before(at) {
		t.Errorf("read once more, it tells %+v and %v", tells, now.VerifiedAt(state.ExtentID(loc.Extent)))
	}
	c.kill("n1")
	file := filepath.Join(c.configs["n1"].Dir, "store", "scrubbed")
	flip(t, file, 20)
	c.start("n1")
	c.ready("n1")
	c.untilTrue("scrubbed anew", func() bool { return c.nodes["n1"].scrub.Describe().Full > 0 })
}

// A node whose scrub finds its log damaged stops, to be made whole when it starts again, but only where the others
// can go on without it.
func TestScrubOfADamagedLog(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	bad := &raftlog.BadEntry{From: 5, To: 5, Detail: "as this test has it"}
	c.kill("n3")
	c.up(2)
	c.nodes["n2"].logDamaged(bad)
	if c.nodes["n2"].life.ctx.Err() != nil || othersSuffice(c.nodes["n2"].log.View(), "n2") {
		t.Error("n2 stops although n1 would be left alone")
	}
	c.start("n3")
	c.ready("n3")
	c.up(3)
	c.nodes["n2"].logDamaged(bad)
	select {
	case <-c.nodes["n2"].Done():
	case <-testContext(t).Done():
		t.Fatal("n2 goes on with a damaged log")
	}
	corrupt := (*raftlog.CorruptError)(nil)
	if err := c.nodes["n2"].Err(); !errors.As(err, &corrupt) || corrupt.Index != 5 {
		t.Errorf("n2 stopped with %v", err)
	}
}
