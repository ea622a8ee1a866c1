package raftlog

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
)

// folderOf is all that a node keeps: its log's folder and the files beside it.
func (c *testCell) folderOf(id state.NodeID) []string {
	dir := filepath.Join(c.dir, string(id))
	return []string{dir, ballotPath(dir), markPath(dir)}
}

// copyFolder copies what a stopped node keeps to a folder of that name, and restoreFolder puts it back.
func (c *testCell) copyFolder(id state.NodeID, to string) {
	c.t.Helper()
	c.copyAll(c.folderOf(id), c.dir, to)
}

func (c *testCell) restoreFolder(id state.NodeID, from string) {
	c.t.Helper()
	var copies []string
	for _, p := range c.folderOf(id) {
		if err := os.RemoveAll(p); err != nil {
			c.t.Fatal(err)
		}
		copies = append(copies, filepath.Join(from, filepath.Base(p)))
	}
	c.copyAll(copies, from, c.dir)
}

func (c *testCell) copyAll(paths []string, from, to string) {
	c.t.Helper()
	if err := os.MkdirAll(to, 0o755); err != nil {
		c.t.Fatal(err)
	}
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			c.t.Fatal(err)
		}
		target := filepath.Join(to, filepath.Base(p))
		if info.IsDir() {
			err = os.CopyFS(target, os.DirFS(p))
		} else {
			var b []byte
			if b, err = os.ReadFile(p); err == nil {
				err = os.WriteFile(target, b, 0o644)
			}
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

// records are what a stopped node's log holds, by index.
func (c *testCell) records(id state.NodeID) map[uint64][]byte {
	c.t.Helper()
	stores, err := diskStores(filepath.Join(c.dir, string(id)), newEngineLogger(Config{}.withDefaults().Logger))
	if err != nil {
		c.t.Fatal(err)
	}
	defer stores.close()
	first, _ := stores.log.FirstIndex()
	last, _ := stores.log.LastIndex()
	all := map[uint64][]byte{}
	for i := first; i <= last; i++ {
		var l raft.Log
		if err := stores.log.GetLog(i, &l); err != nil {
			c.t.Fatal(err)
		}
		all[i] = l.Data
	}
	return all
}

// TestALogPutBack: the folder of a log was put back to an older copy, beside a mark that says more. The node must not
// vote before it has caught up, and then holds what the others hold.
func TestALogPutBack(t *testing.T) {
	c := newCell(t, 3, nil)
	fill(t, c.leader(), "a", 10)
	c.settle()
	c.stop("n3")
	old := filepath.Join(t.TempDir(), "old")
	c.copyFolder("n3", old)
	c.start("n3", nil)
	fill(t, c.leader(), "b", 30)
	c.settle()
	c.stop("n3")
	dir := filepath.Join(c.dir, "n3")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	c.copyAll([]string{filepath.Join(old, "n3")}, old, c.dir)

	g := c.start("n3", nil)
	if g.Abstains() == nil {
		t.Fatal("a node whose log was put back votes")
	}
	at := c.settle()
	if g.machine.expected().Index != 0 {
		t.Errorf("at entry %d it has not come by what it had applied", at)
	}
	c.checkEqual()
}

// TestASoleLogPutBack: nobody could bring it up to date.
func TestASoleLogPutBack(t *testing.T) {
	c := newCell(t, 1, nil)
	fill(t, c.leader(), "a", 10)
	c.stop("n1")
	old := filepath.Join(t.TempDir(), "old")
	c.copyFolder("n1", old)
	c.start("n1", nil)
	fill(t, c.leader(), "b", 30)
	c.stop("n1")
	dir := filepath.Join(c.dir, "n1")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	c.copyAll([]string{filepath.Join(old, "n1")}, old, c.dir)
	_, err := Open(c.config("n1", nil))
	if !errors.As(err, new(*UnusableError)) || !errors.As(err, new(*CorruptError)) {
		t.Errorf("opened with %v, want an older copy", err)
	}
}

// TestHistoriesPart puts a majority back to an older copy, which goes on from there. The third node must say so and
// stop, whatever terms and lengths the two histories have, and keep all that it has; the state of none may become a
// mixture.
func TestHistoriesPart(t *testing.T) {
	for name, more := range map[string]int{"shorter": 3, "as long": 20, "longer": 60} {
		t.Run(name, func(t *testing.T) { testHistoriesPart(t, more, 1) })
		t.Run(name+", of a later term", func(t *testing.T) { testHistoriesPart(t, more, 3) })
	}
}

// testHistoriesPart has the majority put as many entries into its log as more says, in its elections-th term.
func testHistoriesPart(t *testing.T, more, elections int) {
	c := newCell(t, 3, nil)
	fill(t, c.leader(), "a", 10)
	c.settle()
	c.close()
	old := filepath.Join(t.TempDir(), "old")
	majority := []state.NodeID{"n1", "n2"}
	for _, id := range majority {
		c.copyFolder(id, old)
	}
	for _, s := range c.servers {
		c.start(s.ID, nil)
	}
	fill(t, c.leader(), "lost", 20)
	c.settle()
	c.close()
	kept := c.records("n3")
	for _, id := range majority {
		c.restoreFolder(id, old)
		c.start(id, nil)
	}
	for range elections - 1 {
		c.leader()
		for _, id := range majority {
			c.stop(id)
		}
		for _, id := range majority {
			c.start(id, nil)
		}
	}
	fill(t, c.leader(), "other", more)
	c.settle()
	n3 := c.start("n3", nil)
	// Something to agree on, so that each meets what the other has.
	for range 1000 {
		l := c.leader()
		if _, _, err := l.Propose(testContext(t), join("next")); err != nil || n3.Err() != nil {
			break
		}
	}
	stopped := 0
	for id, g := range c.groups {
		v, parted := g.View(), (*PartedError)(nil)
		mine, others := v.Node("lost19") != nil, v.Node("other0") != nil
		if mine && others {
			t.Errorf("%s has a mixture of two histories", id)
		}
		if g.Err() == nil {
			continue
		}
		stopped++
		if !errors.As(g.Err(), &parted) {
			t.Errorf("%s stopped with %v, want a *PartedError", id, g.Err())
		}
		t.Logf("%s: %v", id, g.Err())
	}
	if stopped == 0 {
		t.Error("no node has stopped")
	}
	c.close()
	now := c.records("n3")
	for i, was := range kept {
		if !bytes.Equal(now[i], was) {
			t.Errorf("entry %d of n3 is %d bytes, was %d: what it had acknowledged is overwritten", i, len(now[i]), len(was))
		}
	}
}
