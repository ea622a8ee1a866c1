package raftlog

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// fill proposes n entries, one after the other.
func fill(t *testing.T, g *Group, prefix string, n int) {
	t.Helper()
	for i := range n {
		if _, _, err := g.Propose(testContext(t), join(fmt.Sprintf("%s%d", prefix, i))); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRestartFromDisk(t *testing.T) {
	c := newCell(t, 3, nil)
	fill(t, c.leader(), "a", 20)
	at := c.settle()
	want := c.groups["n1"].Chain()
	for _, s := range c.servers {
		c.stop(s.ID)
	}
	for _, s := range c.servers {
		c.start(s.ID, c.servers) // a repeated bootstrap does no harm
	}
	g := c.leader()
	if got, err := g.ChainAt(at); err != nil || got != want {
		t.Errorf("chain after restart is %s, %v; want %s", got, err, want)
	}
	fill(t, g, "b", 3)
	c.settle()
	c.checkEqual()
	if g.View().Node("a19") == nil || g.View().Node("b2") == nil {
		t.Error("nodes are missing after the restart")
	}
}

func TestCompactionKeepsTheStateAndTheChain(t *testing.T) {
	c := newCell(t, 3, func(cfg *Config) { cfg.TrailingLogs = 150 })
	g := c.leader()
	fill(t, g, "a", 400)
	c.settle()
	early, err := g.ChainAt(390)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range c.groups {
		if err := g.Snapshot(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Entries(1, 10, func(EntryInfo) bool { return true }); !isCompacted(err) {
		t.Errorf("reading what is compacted: %v", err)
	}
	_, err = g.ChainAt(1)
	var gone *CompactedError
	if !errors.As(err, &gone) {
		t.Fatalf("chain at 1 after compaction: %v", err)
	}
	if _, err := g.ChainAt(gone.First); err != nil {
		t.Errorf("chain at %d, said to be the first: %v", gone.First, err)
	}
	for id, g := range c.groups {
		if got, err := g.ChainAt(390); err != nil || got != early {
			t.Errorf("%s: chain at 390 is %s, %v; was %s", id, got, err, early)
		}
		checkVerified(t, g)
	}
	// A node that restarts begins with its snapshot; one that is new gets it from the leader.
	c.stop("n1")
	c.start("n1", nil)
	c.start("n4", nil)
	if err := c.leader().AddNonvoter(testContext(t), "n4", testAddr("n4")); err != nil {
		t.Fatal(err)
	}
	fill(t, c.leader(), "b", 5)
	c.settle()
	c.checkEqual()
	for _, g := range c.groups {
		checkVerified(t, g)
	}
	if got, err := c.groups["n1"].ChainAt(390); err != nil || got != early {
		t.Errorf("after a restart the chain at 390 is %s, %v; was %s", got, err, early)
	}
	if first, _ := c.groups["n4"].stores.log.FirstIndex(); first < 100 {
		t.Errorf("n4 has entry %d, so that it did not start from a snapshot", first)
	}
}

func isCompacted(err error) bool {
	var c *CompactedError
	return errors.As(err, &c)
}

func checkVerified(t *testing.T, g *Group) {
	t.Helper()
	rep, err := g.Verify(testContext(t))
	if err != nil || rep.Bad != nil || rep.Chain != rep.Live {
		t.Errorf("%s: verify: %+v, bad %+v, err %v", g.cfg.ID, rep, rep.Bad, err)
	}
	if rep.Entries == 0 || rep.Base.Index >= rep.Last {
		t.Errorf("%s: verify has looked at nothing: %+v", g.cfg.ID, rep)
	}
}

// TestVerifyFindsAFlippedByte damages the log of a running node on disk, at one entry.
func TestVerifyFindsAFlippedByte(t *testing.T) {
	c := newCell(t, 1, nil)
	g := c.leader()
	fill(t, g, "filler", 50)
	_, index, err := g.Propose(testContext(t), join("the-marked-node"))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, g, "after", 5)
	checkVerified(t, g)
	flip(t, filepath.Join(g.cfg.Dir, logFile), "the-marked-node")
	rep, err := g.Verify(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if rep.Bad == nil || rep.Bad.From != index || rep.Bad.To != index {
		t.Fatalf("bad is %+v, want entry %d", rep.Bad, index)
	}
	var bad []state.Index
	err = g.Entries(0, g.AppliedIndex(), func(e EntryInfo) bool {
		if e.Err != nil {
			bad = append(bad, e.Index)
		}
		return true
	})
	if err != nil || !slices.Equal(bad, []state.Index{index}) {
		t.Errorf("listing shows %d as bad, %v; want %d", bad, err, index)
	}
	// Started again from the damaged log, the node must not come up as if nothing were the matter.
	cfg := c.config("n1", nil)
	c.stop("n1")
	g, err = Open(cfg)
	if err != nil {
		return
	}
	c.groups["n1"] = g
	c.campaign()
	var corrupt *CorruptError
	if err := awaitFailed(t, g); !errors.As(err, &corrupt) || corrupt.Index != index {
		t.Errorf("failed with %v, want entry %d to be corrupt", err, index)
	}
}

// flip changes every occurrence of mark in a file.
func flip(t *testing.T, path, mark string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for off := 0; ; n++ {
		i := bytes.Index(b[off:], []byte(mark))
		if i < 0 {
			break
		}
		off += i + 1
		if _, err := f.WriteAt([]byte{b[off] ^ 1}, int64(off)); err != nil {
			t.Fatal(err)
		}
	}
	if n == 0 {
		t.Fatalf("%s does not contain %q", path, mark)
	}
}

// TestVerifyFindsARewrittenEntry: an entry that is sound in itself but not the one that was applied.
func TestVerifyFindsARewrittenEntry(t *testing.T) {
	c, stores := faultyCell(t, 1, nil)
	g := c.leader()
	fill(t, g, "a", 300)
	log := stores["n1"].InmemStore
	r, err := g.reader()
	if err != nil {
		t.Fatal(err)
	}
	l, err := r.get(200)
	if err != nil {
		t.Fatal(err)
	}
	forged := *l
	body, err := AppendCommands(nil, []state.Command{join("forged")})
	if err != nil {
		t.Fatal(err)
	}
	forged.Data = AppendEntry(nil, Entry{Type: EntryCommands, Group: cellGroup, Body: body})
	if err := log.StoreLog(&forged); err != nil {
		t.Fatal(err)
	}
	rep, err := g.Verify(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if rep.Bad == nil || rep.Bad.From > 200 || rep.Bad.To < 200 || rep.Bad.To-rep.Bad.From > pointEvery {
		t.Errorf("bad is %+v, want it around entry 200", rep.Bad)
	}
}

func TestReadingTheLogBack(t *testing.T) {
	c := newCell(t, 3, nil)
	g := c.leader()
	commands := []state.Command{&state.Genesis{Cell: "test"}, join("n1"), join("n2")}
	_, index, err := g.Propose(testContext(t), commands...)
	if err != nil {
		t.Fatal(err)
	}
	kinds := make(map[string]int)
	var found EntryInfo
	next := state.Index(1)
	err = g.Entries(0, g.AppliedIndex()+100, func(e EntryInfo) bool {
		if e.Index != next || e.Chain == nil || e.Err != nil {
			t.Errorf("entry %+v, want %d with its chain", e, next)
		}
		next++
		kinds[e.Kind]++
		if e.Index == index {
			found = e
		}
		return true
	})
	if err != nil || next != g.AppliedIndex()+1 {
		t.Errorf("read up to %d, %v; want %d", next-1, err, g.AppliedIndex())
	}
	if kinds["raft-configuration"] != 1 || kinds["raft-noop"] == 0 || kinds[kindCommands] < 2 {
		t.Errorf("kinds are %v", kinds)
	}
	if !slices.Equal(found.Types, []string{"genesis", "node-join"}) || !reflect.DeepEqual(found.Commands, commands) ||
		found.Micros == 0 || found.Term == 0 {
		t.Errorf("entry %d reads back as %+v", index, found)
	}
	at, err := g.ChainAt(index)
	if err != nil || found.Chain == nil || at != *found.Chain {
		t.Errorf("chain at %d is %s, %v; the listing says %v", index, at, err, found.Chain)
	}
	if before, err := g.ChainAt(index - 1); err != nil || before.Hash == at.Hash {
		t.Errorf("chain before is %s, %v", before, err)
	}
	if _, err := g.ChainAt(g.AppliedIndex() + 1); wire.CodeOf(err) != wire.CodePrecondition {
		t.Errorf("chain of what is not applied: %v", err)
	}
}

// TestMembers takes a node through the life of a member.
func TestMembers(t *testing.T) {
	c := newCell(t, 3, nil)
	g := c.leader()
	n4 := c.start("n4", nil)
	ctx := testContext(t)
	steps := []struct {
		name          string
		do            func() error
		member, voter bool
	}{
		{"add a follower", func() error { return g.AddNonvoter(ctx, "n4", testAddr("n4")) }, true, false},
		{"give it the vote", func() error { return g.AddVoter(ctx, "n4", testAddr("n4")) }, true, true},
		{"take the vote", func() error { return g.Demote(ctx, "n4") }, true, false},
		{"remove it", func() error { return g.Remove(ctx, "n4") }, false, false},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		servers, err := g.Servers()
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(servers, func(s ServerInfo) bool { return s.ID == "n4" })
		if (i >= 0) != s.member || (i >= 0 && servers[i].Voter != s.voter) {
			t.Errorf("%s: servers are %+v", s.name, servers)
		}
		if s.member {
			if err := n4.WaitApplied(ctx, g.AppliedIndex()); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
		}
	}
	c.stop("n4")
	if err := g.VerifyLeader(ctx); err != nil {
		t.Error(err)
	}
	if err := g.TransferLeadership(ctx); err != nil {
		t.Fatal(err)
	}
	if next := c.leader(); next == g {
		t.Log("the leadership came back already")
	}
	if err := g.Remove(ctx, "n9"); err == nil && !g.IsLeader() {
		t.Error("a follower changed the group")
	}
}

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	net := newTestNet()
	sound := func() Config {
		return Config{Dir: t.TempDir(), ID: "n1", Advertise: "n1:1", Layer: net.listen("n1:1"), Timing: calmTiming()}
	}
	cases := map[string]func(*Config){
		"no ID":      func(c *Config) { c.ID = "" },
		"no address": func(c *Config) { c.Advertise = "" },
		"no layer":   func(c *Config) { c.Layer = nil },
		"nowhere":    func(c *Config) { c.Dir = "" },
		"not in it":  func(c *Config) { c.Bootstrap = []Server{{"n2", "n2:1"}} },
	}
	for name, spoil := range cases {
		cfg := sound()
		spoil(&cfg)
		if g, err := Open(cfg); err == nil {
			t.Errorf("%s: opened", name)
			_ = g.Close()
		}
	}
	cfg := sound()
	g, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	second := cfg
	second.Layer = net.listen("n1:1")
	if g, err := Open(second); err == nil {
		t.Error("a log was opened twice")
		_ = g.Close()
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}
