package node

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

type stateNode = state.Node

func pattern(seed uint64, n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}).Read(p)
	return p
}

// What was put is read back from every replica, small and large, by many callers at once.
func TestPutGet(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	sizes := []int{0, 1, 1000, 64 << 10, 1 << 20, 3<<20 + 17}
	var wg sync.WaitGroup
	for i, size := range sizes {
		wg.Add(1)
		go func() {
			defer wg.Done()
			want := pattern(uint64(i), size)
			loc := c.put(want)
			for _, node := range []string{"", "n1", "n2", "n3"} {
				got, err := c.get(loc, node)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d bytes from %q: %d bytes, %v", size, node, len(got), err)
				}
			}
		}()
	}
	wg.Wait()
}

// A delete that is done has freed every file, and what it deleted cannot be read any more.
func TestDelete(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	keep, gone := c.put(pattern(1, 2<<20)), c.put(pattern(2, 2<<20))
	ops := c.run(wire.Submission{Kind: "delete", Extent: gone.Extent})
	if ops[0].State != "done" {
		t.Fatalf("delete is %s: %s", ops[0].State, ops[0].Detail)
	}
	for id, n := range c.nodes {
		for _, have := range n.store.IDs() {
			if uint64(have) == gone.Extent {
				t.Errorf("%s still has the file of extent %d", id, have)
			}
		}
		if _, err := c.get(gone, id); wire.CodeOf(err) != wire.CodeNotFound {
			t.Errorf("read of a deleted extent on %s: %v", id, err)
		}
	}
	if _, err := c.get(keep, ""); err != nil {
		t.Error(err)
	}
}

// A node that is lost for longer than the repair delay has its extents repaired elsewhere.
func TestRepairAfterLoss(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 1)
	data := map[wire.Locator][]byte{}
	for i := range 8 {
		p := pattern(uint64(i), 100_000*(i+1))
		data[c.put(p)] = p
	}
	c.kill("n2")
	c.until("every extent has its replicas again", func(n *Node) bool {
		view := n.log.View()
		whole := true
		view.Extents(0, func(e *state.Extent) bool {
			_, onLost := e.Replica("n2")
			whole = whole && !onLost && (e.State == state.ExtentDeleted || view.Live(e) == 3)
			return true
		})
		return whole
	})
	for loc, want := range data {
		for id := range c.nodes {
			if got, err := c.get(loc, id); err != nil || !bytes.Equal(got, want) {
				t.Errorf("extent %d on %s: %d bytes, %v", loc.Extent, id, len(got), err)
			}
		}
	}
	c.start("n2")
	c.ready("n2")
	c.until("n2 has dropped what was repaired elsewhere", func(n *Node) bool { return n.log.View().Counts().Drops == 0 })
	if left := c.nodes["n2"].store.IDs(); len(left) != 0 {
		t.Errorf("n2 still has files of %v", left)
	}
}

// A decommission moves every replica and the vote, while writing goes on.
func TestDecommission(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 1)
	data := map[wire.Locator][]byte{}
	for i := range 12 {
		p := pattern(uint64(i), 50_000*(i+1))
		data[c.put(p)] = p
	}
	ops := c.run(wire.Submission{Kind: "decommission", Node: "n3"})
	if ops[0].State != "done" {
		t.Fatalf("decommission is %s: %s", ops[0].State, ops[0].Detail)
	}
	c.until("n3 holds nothing", func(n *Node) bool {
		node := n.log.View().Node("n3")
		return n.log.View().CountReplicas("n3") == 0 && node.Mode == state.ModeDecommissioned && !node.Voter
	})
	if left := c.nodes["n3"].store.IDs(); len(left) != 0 {
		t.Errorf("n3 still has files of %v", left)
	}
	for loc, want := range data {
		for _, id := range []string{"n1", "n2", "n4"} {
			if got, err := c.get(loc, id); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s on %s: %d bytes, %v", fmt.Sprint(loc), id, len(got), err)
			}
		}
	}
}
