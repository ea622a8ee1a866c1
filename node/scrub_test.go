package node

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// scrubbed waits until a node's scrub has ended a round that began after the call.
func (c *cell) scrubbed(id string) {
	c.t.Helper()
	ctx, s := testContext(c.t), c.nodes[id].scrub
	for range 2 { // the first to end may have been under way already
		s.mu.Lock()
		ended := s.ended
		s.mu.Unlock()
		select {
		case s.again <- struct{}{}:
		default:
		}
		select {
		case <-ended:
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

// Rot in a replica that nobody reads is found by the scrub of its node, told of, and repaired.
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
		if c.nodes["n2"].scrub.verifiedAt(state.ExtentID(loc.Extent)).IsZero() {
			t.Errorf("extent %d was not verified on n2", loc.Extent)
		}
	}
	rotten := locs[3]
	flip(t, c.file("n2", rotten.Extent), 700_000)
	c.scrubbed("n2")
	c.until("repaired", func(n *Node) bool { return repairs(n.log.View(), rotten.Extent) == 1 })
	c.whole()
	c.verified(rotten.Extent, 3)
	if got, err := c.get(rotten, "n2"); err != nil || !bytes.Equal(got, pattern(3, appendPiece+3000)) {
		t.Errorf("after the repair: %d bytes, %v", len(got), err)
	}
	found, err := c.client.Scrub(testContext(t), "n2", rotten.Extent)
	if err != nil || found.Damage == 0 || found.Verified == 0 || found.Full == 0 || found.Log == 0 || found.Bytes < 5*appendPiece {
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
	gone, reborn, other := c.sealed(pattern(1, 2*appendPiece)), c.sealed(pattern(2, 2*appendPiece)), c.sealed(pattern(3, 2*appendPiece))
	if err := os.Remove(c.file("n3", gone.Extent)); err != nil {
		t.Fatal(err)
	}
	rebirth(t, c.file("n3", reborn.Extent), reborn.Birth^1)
	e := c.any().log.View().Extent(state.ExtentID(other.Extent))
	forge(t, c.nodes["n3"].store, e, pattern(4, 2*appendPiece))
	c.scrubbed("n3")
	for _, loc := range []wire.Locator{gone, reborn, other} {
		c.until("repaired", func(n *Node) bool { return repairs(n.log.View(), loc.Extent) == 1 })
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
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.pace(ctx, 1) }()
	select {
	case err := <-done:
		t.Fatalf("goes on at pace 0: %v", err)
	case <-c.nodes["n1"].after(2 * scrubLook):
	}
	cancel()
	if err := <-done; err == nil {
		t.Fatal("told to end, and did not say so")
	}
	if tells, err := c.client.Scrub(testContext(t), "n1", loc.Extent); err != nil || tells.Pace != 0 || tells.Verified != 0 {
		t.Fatalf("at pace 0: %+v, %v", tells, err)
	}
	c.set("scrub-pace", "1Gi")
	c.untilTrue("verified", func() bool { return !s.verifiedAt(state.ExtentID(loc.Extent)).IsZero() })
	c.set("scrub-pace", "64Ki") // half a minute for what is there
	c.untilTrue("in the middle of a round", func() bool { return s.describe().Began != 0 })
	c.kill("n1") // which waits for it
}

// The dates are there after a restart, and a round that was cut short does not begin anew.
func TestScrubRemembers(t *testing.T) {
	t.Parallel()
	c := newCell(t, 1, 0)
	c.set("scrub-pace", "1Gi")
	c.set("scrub-pause", "720h")
	loc := c.sealed(pattern(1, 2*appendPiece))
	c.scrubbed("n1")
	was := c.nodes["n1"].scrub.describe()
	at := c.nodes["n1"].scrub.verifiedAt(state.ExtentID(loc.Extent))
	c.kill("n1")
	c.start("n1")
	c.ready("n1")
	now := c.nodes["n1"].scrub
	c.untilTrue("the dates are read", func() bool { return now.describe().Full != 0 })
	if tells := now.describe(); tells.Full != was.Full || tells.Log != was.Log || !now.verifiedAt(state.ExtentID(loc.Extent)).Equal(at) {
		t.Errorf("before the restart %+v and %v, after it %+v and %v", was, at, tells, now.verifiedAt(state.ExtentID(loc.Extent)))
	}
	c.kill("n1")
	file := filepath.Join(c.configs["n1"].Dir, "store", "scrubbed")
	flip(t, file, 20)
	c.start("n1")
	c.ready("n1")
	c.untilTrue("scrubbed anew", func() bool { return c.nodes["n1"].scrub.describe().Full > 0 })
}

// A record of the scrub is read as it was written, and nothing else is.
func TestScrubRecord(t *testing.T) {
	r := newScrubRecord()
	r.began, r.full, r.log = 3, 2, 1
	for i := range state.ExtentID(100) {
		r.verified[i*7+1] = int64(i) + 1_000_000
	}
	p := appendScrubRecord(nil, r)
	got, err := parseScrubRecord(p)
	if err != nil || got.began != 3 || got.full != 2 || got.log != 1 || len(got.verified) != 100 || got.verified[8] != 1_000_001 {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := range p {
		p[i] ^= 0x10
		if _, err := parseScrubRecord(p); err == nil {
			t.Errorf("byte %d flipped, and not noticed", i)
		}
		p[i] ^= 0x10
		if _, err := parseScrubRecord(p[:i]); err == nil {
			t.Errorf("cut to %d bytes, and not noticed", i)
		}
	}
}

// Dates that are still to come, because the clock was set back, keep nothing from being read.
func TestScrubDropsTheFuture(t *testing.T) {
	s := &scrubber{record: newScrubRecord()}
	s.record.began, s.record.full, s.record.log = 5, 200, 50
	s.record.verified[1], s.record.verified[2] = 99, 101
	s.dropFutureLocked(100)
	if r := s.record; r.began != 5 || r.full != 0 || r.log != 50 || len(r.verified) != 1 || r.verified[1] != 99 {
		t.Errorf("left at 100: %+v", r)
	}
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
	if c.nodes["n2"].ctx.Err() != nil || c.nodes["n2"].othersSuffice() {
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
