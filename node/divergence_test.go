package node

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// TestAMajorityPutBack puts the folders of two nodes of three back to an older copy and lets them go on. The third,
// which alone holds what was acknowledged in between, must stop and name both histories, and keep all of it. The others
// say that it has parted.
func TestAMajorityPutBack(t *testing.T) {
	c := newCell(t, 3, 0)
	c.put([]byte("before"))
	stopAll := func() {
		for id := range c.nodes {
			if err := c.nodes[id].Close(); err != nil {
				t.Fatal(err)
			}
			delete(c.nodes, id)
		}
	}
	stopAll()
	old := map[string]string{}
	for _, id := range []string{"n1", "n2"} {
		old[id] = filepath.Join(t.TempDir(), id)
		copyTree(t, c.configs[id].Dir, old[id])
	}
	for id := range c.configs {
		c.start(id)
	}
	c.up(3)
	for range 5 {
		c.put(bytes.Repeat([]byte("acknowledged"), 100))
		c.anEntry()
	}
	stopAll()
	kept := sumTree(t, filepath.Join(c.configs["n3"].Dir, "store"))
	for id, dir := range old {
		if err := os.RemoveAll(c.configs[id].Dir); err != nil {
			t.Fatal(err)
		}
		copyTree(t, dir, c.configs[id].Dir)
		c.start(id)
	}
	c.ready("n1")
	c.ready("n2")
	c.put([]byte("of another history"))

	c.start("n3")
	n3 := c.nodes["n3"]
	c.entriesUntil(n3.Done())
	if err := n3.Err(); !errors.As(err, new(*raftlog.PartedError)) && wire.CodeOf(err) != wire.CodeParted {
		t.Errorf("n3 stopped with %v, want that histories have parted", err)
	}
	delete(c.nodes, "n3")
	c.untilTrue("n1 and n2 say that n3 has parted", func() bool {
		for _, n := range c.nodes {
			s, err := c.client.StatusOf(testContext(t), n.Addr())
			if err != nil || len(s.Parted) != 1 || s.Parted[0].Node != "n3" {
				return false
			}
		}
		return true
	})
	now := sumTree(t, filepath.Join(c.configs["n3"].Dir, "store"))
	for name, sum := range kept {
		if now[name] != sum {
			t.Errorf("%s of n3 has changed", name)
		}
	}
	if len(kept) == 0 {
		t.Error("n3 held nothing")
	}
	c.put([]byte("goes on"))
}

// anEntry puts an entry into the log, on whichever node leads now.
func (c *cell) anEntry() {
	for _, n := range c.nodes {
		if n.log.IsLeader() {
			_, _, _ = n.log.Propose(testContext(c.t), &state.OpenSession{Client: "test"}) // or it has just lost its lead
		}
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// sumTree is a checksum of every extent below dir.
func sumTree(t *testing.T, dir string) map[string][sha256.Size]byte {
	t.Helper()
	sums := map[string][sha256.Size]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".ext" {
			return err
		}
		b, err := os.ReadFile(path)
		sums[path] = sha256.Sum256(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

// entriesUntil makes entries, which all nodes are given, until a node has met one that is not of its history.
func (c *cell) entriesUntil(stopped <-chan struct{}) {
	c.t.Helper()
	for ctx := testContext(c.t); ; {
		select {
		case <-stopped:
			return
		case <-time.After(10 * time.Millisecond):
			c.anEntry()
		case <-ctx.Done():
			c.t.Fatal("the node goes on")
		}
	}
}
