package raftlog

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

// snapshotted is the folder of the only node of a cell, which has taken two snapshots, and the chain that it came to.
// trailing is how much of the log is left.
func snapshotted(t *testing.T, trailing uint64) (c *testCell, dir string, want ChainPoint) {
	t.Helper()
	c = newCell(t, 1, func(cfg *Config) { cfg.TrailingLogs = trailing })
	g := c.leader()
	for range 2 {
		fill(t, g, "a", 40)
		if err := g.Snapshot(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, g, "b", 5)
	want = g.Chain()
	dir = g.cfg.Dir
	c.stop("n1")
	return c, dir, want
}

// snapshotIDs are the snapshots in a log's folder, oldest first.
func snapshotIDs(t *testing.T, dir string) (ids []string) {
	t.Helper()
	found, err := os.ReadDir(filepath.Join(dir, snapshotDir))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		ids = append(ids, f.Name())
	}
	return ids
}

// TestAnyByteOfASnapshot flips bits all over the newest snapshot. Each start must end in the state that was, or in a
// refusal that names what is damaged: never in a panic, nor in a state that lacks something.
func TestAnyByteOfASnapshot(t *testing.T) {
	for name, trailing := range map[string]uint64{"log from the start": 10000, "log from the newest snapshot": 1} {
		t.Run(name, func(t *testing.T) {
			c, dir, want := snapshotted(t, trailing)
			ids := snapshotIDs(t, dir)
			newest := ids[len(ids)-1]
			ends := map[string]int{}
			for _, file := range []string{metaFile, stateFile} {
				path := filepath.Join(snapshotDir, newest, file)
				whole, err := os.ReadFile(filepath.Join(dir, path))
				if err != nil {
					t.Fatal(err)
				}
				stride := 1
				if file == stateFile || testing.Short() {
					stride = 1 + len(whole)/60
				}
				for at := 0; at < len(whole); at += stride {
					bad := bytes.Clone(whole)
					bad[at] ^= 1 << (at % 8)
					end := c.startDamaged(dir, path, bad, want)
					ends[file+": "+end]++
					if end == refused && (file == metaFile || trailing > 1) {
						t.Errorf("byte %d of %s: refused, though there is all that a start needs", at, file)
					}
				}
				for _, cut := range []int{0, 1, len(whole) / 2, len(whole) - 1} {
					ends[file+" cut: "+c.startDamaged(dir, path, whole[:cut], want)]++
				}
			}
			t.Log(ends)
		})
	}
}

const (
	served  = "served"
	refused = "refused"
)

// startDamaged starts n1 on a copy of dir in which the file at path has other bytes.
func (c *testCell) startDamaged(dir, path string, content []byte, want ChainPoint) string {
	c.t.Helper()
	cfg := c.config("n1", nil)
	cfg.Dir = filepath.Join(c.t.TempDir(), "log")
	if err := os.CopyFS(cfg.Dir, os.DirFS(dir)); err != nil {
		c.t.Fatal(err)
	}
	defer os.RemoveAll(cfg.Dir)
	if err := os.WriteFile(filepath.Join(cfg.Dir, path), content, 0o644); err != nil {
		c.t.Fatal(err)
	}
	g, err := Open(cfg)
	if corrupt := (*CorruptError)(nil); errors.As(err, &corrupt) {
		if !strings.Contains(err.Error(), cfg.Dir) || strings.Contains(err.Error(), "\n") {
			c.t.Errorf("refused with %q, want one line that names the folder", err)
		}
		return refused
	}
	if err != nil {
		c.t.Fatalf("refused with %v, want a *CorruptError", err)
	}
	c.groups["n1"] = g
	defer c.stop("n1")
	c.campaign()
	if err := g.WaitApplied(testContext(c.t), want.Index); err != nil {
		c.t.Fatalf("%v; %v", err, g.Err())
	}
	if got, err := g.ChainAt(want.Index); err != nil || got != want {
		c.t.Errorf("chain is %s, %v, want %s", got, err, want)
	}
	if _, _, err := c.leader().Propose(testContext(c.t), join("later")); err != nil {
		c.t.Error(err)
	}
	if g.View().Node("a39") == nil || g.View().Node("b4") == nil {
		c.t.Error("entries were passed over")
	}
	return served
}

// TestADamagedSnapshotIsNoneOfThoseKept: the engine would count it, and remove the only one that can be read.
func TestADamagedSnapshotIsNoneOfThoseKept(t *testing.T) {
	c, dir, _ := snapshotted(t, 10000)
	ids := snapshotIDs(t, dir)
	if len(ids) != keepSnapshots {
		t.Fatalf("snapshots are %v, want %d", ids, keepSnapshots)
	}
	bad := ids[len(ids)-1]
	if err := os.WriteFile(filepath.Join(dir, snapshotDir, bad, stateFile), []byte("rot"), 0o644); err != nil {
		t.Fatal(err)
	}
	c.start("n1", nil)
	g := c.leader()
	if err := g.Snapshot(testContext(t)); err != nil {
		t.Fatal(err)
	}
	now := snapshotIDs(t, dir)
	if len(now) != 2 || now[0] != ids[0] {
		t.Errorf("snapshots are %v, want %s, which can be read, and a new one", now, ids[0])
	}
	if aside, err := os.ReadFile(filepath.Join(dir, snapshotDir+asideSuffix, bad, stateFile)); string(aside) != "rot" {
		t.Errorf("what was set aside has %q, %v", aside, err)
	}
}

// TestUnfinishedSnapshotsGo: the engine would leave what a crash has left of a snapshot where it is, for good.
func TestUnfinishedSnapshotsGo(t *testing.T) {
	c, dir, _ := snapshotted(t, 10000)
	ids := snapshotIDs(t, dir)
	unfinished := filepath.Join(dir, snapshotDir, "1-99-1700000000000"+tmpSuffix)
	if err := os.Mkdir(unfinished, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(unfinished, stateFile), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	c.start("n1", nil)
	c.leader()
	if now := snapshotIDs(t, dir); !slices.Equal(now, ids) {
		t.Errorf("snapshots are %v, want %v and not what a crash has left", now, ids)
	}
	if aside, err := os.ReadDir(filepath.Join(dir, snapshotDir+asideSuffix)); !os.IsNotExist(err) {
		t.Errorf("set aside is %v, %v: the disk still has what a crash has left", aside, err)
	}
}

// TestASnapshotThatWasReceivedDamaged does not take the place of anything, and is asked for again.
func TestASnapshotThatWasReceivedDamaged(t *testing.T) {
	_, dir, _ := snapshotted(t, 10000)
	cfg := Config{}.withDefaults()
	disk, err := diskStores(dir, newEngineLogger(cfg.Logger))
	if err != nil {
		t.Fatal(err)
	}
	defer disk.close()
	judged := errors.New("of another history")
	s := &snapshots{store: disk.snapshots, dir: disk.snapshotDir, logger: cfg.Logger}
	list, err := s.List()
	if err != nil || len(list) != 2 {
		t.Fatalf("list has %d, %v", len(list), err)
	}
	m := list[0]
	whole, err := os.ReadFile(filepath.Join(s.dir, m.ID, stateFile))
	if err != nil {
		t.Fatal(err)
	}
	before := snapshotIDs(t, dir)
	_, trans := raft.NewInmemTransport("")
	send := func(index uint64, b []byte) error {
		sink, err := s.Create(1, index, m.Term, m.Configuration, m.ConfigurationIndex, trans)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sink.Write(b); err != nil {
			return errors.Join(err, sink.Cancel())
		}
		return sink.Close()
	}
	for at := 0; at < len(whole); at += 1 + len(whole)/100 {
		b := bytes.Clone(whole)
		b[at] ^= 4
		if err := send(m.Index, b); err == nil {
			t.Errorf("byte %d flipped on its way, not noticed", at)
		}
	}
	if err := send(m.Index, whole[:len(whole)-1]); err == nil {
		t.Error("cut by one byte, not noticed")
	}
	if err := send(m.Index+1, whole); err == nil {
		t.Error("sent as that of a later entry, not noticed")
	}
	s.judge = func(snapshotHead) error { return judged }
	if err := send(m.Index, whole); !errors.Is(err, judged) {
		t.Errorf("of another history: %v", err)
	}
	if now := snapshotIDs(t, dir); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("snapshots are %v, were %v", now, before)
	}
	s.judge = nil
	if err := send(m.Index, whole); err != nil {
		t.Errorf("whole: %v", err)
	}
}
