package node

import (
	"bytes"
	"sync/atomic"
	"testing"

	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// What is put while a node is down is on fewer disks than wanted, and says so. The extent is counted as lacking while
// it is still open, and has all its replicas soon after the node is back, whatever the repair delay; the puts that
// go on meanwhile do not notice.
func TestFewDisksAreMadeUpFor(t *testing.T) {
	c := newCellWith(t, 3, 0, func(cfg *Config) { cfg.Settings["repair-delay"] = "100h" })
	c.kill("n3")
	c.up(2)
	loc := c.put(pattern(1, 5000))
	if loc.Disks != 2 || loc.Want != 3 {
		t.Fatalf("%+v with one of three nodes down, want 2 of 3 disks", loc)
	}
	view := c.nodes["n1"].log.View()
	if e := view.Extent(state.ExtentID(loc.Extent)); e.State != state.ExtentOpen || describe.Lacking(view) == 0 {
		t.Errorf("%v, of which %d lack replicas; want an open extent that does", e, describe.Lacking(view))
	}

	var whole atomic.Bool
	ended := make(chan error, 1)
	go func() {
		for i := uint64(0); !whole.Load(); i++ {
			p := pattern(i, 3000)
			if _, err := c.client.Put(t.Context(), bytes.NewReader(p), client.PutOptions{Length: int64(len(p))}); err != nil {
				ended <- err
				return
			}
		}
		ended <- nil
	}()
	c.start("n3")
	c.ready("n3")
	c.until("the put is on three disks", func(n *Node) bool {
		e := n.log.View().Extent(state.ExtentID(loc.Extent))
		return e.State == state.ExtentSealed && e.Whole() == 3
	})
	whole.Store(true)
	if err := <-ended; err != nil {
		t.Errorf("a put while the extent was sealed: %v", err)
	}
	if got, err := c.get(loc, "n3"); err != nil || !bytes.Equal(got, pattern(1, 5000)) {
		t.Errorf("%d bytes from n3, %v", len(got), err)
	}
}

// Under min-replicas a put is refused before it has cost an entry, also one to an extent that was made before the
// setting was raised.
func TestMinReplicas(t *testing.T) {
	c := newCell(t, 3, 0)
	c.kill("n3")
	c.up(2)
	if loc := c.put(pattern(1, 10)); loc.Disks != 2 {
		t.Fatalf("%+v, want 2 disks", loc)
	}
	if err := c.client.SetSetting(testContext(t), "min-replicas", "3"); err != nil {
		t.Fatal(err)
	}
	c.until("all know of it", func(n *Node) bool { return n.log.View().Settings.MinReplicas == 3 })
	made := c.nodes["n1"].log.View().NextExtent
	one := client.New(client.Options{Addrs: []string{c.nodes["n1"].Addr()}, Name: t.Name(), RetryFor: 1})
	defer one.Close()
	_, err := one.Put(testContext(t), bytes.NewReader(pattern(1, 10)), client.PutOptions{Length: 10})
	if wire.CodeOf(err) != wire.CodeUnavailable || wire.OutcomeOf(err) != wire.NotDone {
		t.Fatalf("a put on two disks: %v; want it refused as unavailable", err)
	}
	oneLine(t, err, "min-replicas")
	if next := c.nodes["n1"].log.View().NextExtent; next != made {
		t.Errorf("the refused puts have made %d extents", next-made)
	}
	if err := c.client.SetSetting(testContext(t), "min-replicas", "auto"); err != nil {
		t.Fatal(err)
	}
	if loc := c.put(pattern(1, 10)); loc.Disks != 2 {
		t.Errorf("%+v, want 2 disks", loc)
	}
}
