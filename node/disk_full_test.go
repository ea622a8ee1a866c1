package node

import (
	"bytes"
	"strings"
	"syscall"
	"testing"

	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

const mib = 1 << 20

// A disk of four fills up: puts go to the others, it says why, and takes more as soon as there is room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	c := newCellWith(t, 3, 1, func(cfg *Config) {
		if cfg.ID == "n4" {
			cfg.FS = mem
		}
	})
	const class = "full"
	foreign, err := mem.Create("/foreign")
	if err == nil {
		err = foreign.Truncate(20 * mib)
	}
	if err != nil {
		t.Fatal(err)
	}
	mem.Limit(20 * mib)
	c.until("n4 takes nothing", func(n *Node) bool {
		node := n.log.View().Node("n4")
		return node.Refuses != "" && node.State == state.NodeUp
	})
	if _, err := c.putAt("n4", []byte("x")); wire.CodeOf(err) != wire.CodeNoSpace {
		t.Errorf("put at the full node: %v", err)
	}
	for range 10 {
		loc := c.put(bytes.Repeat([]byte(class), appendPiece/2))
		if e := c.any().log.View().Extent(state.ExtentID(loc.Extent)); e.MayHoldFile("n4") {
			t.Errorf("extent %d has a replica on the full disk", loc.Extent)
		}
	}
	mem.Limit(1 << 30)
	c.until("n4 takes replicas", func(n *Node) bool { return n.log.View().Node("n4").Takes() })
	if _, err := c.putAt("n4", []byte("x")); err != nil {
		t.Errorf("put with room again: %v", err)
	}
}

// After a failed sync the node itself says so, wherever it is asked.
func TestFailedStoreIsTold(t *testing.T) {
	t.Parallel()
	fault := vfs.NewFault(vfs.OS{})
	c := newCellWith(t, 3, 0, func(cfg *Config) {
		if cfg.ID == "n3" {
			cfg.FS = fault
		}
	})
	fault.Set(func(call vfs.Call) error {
		if call.Op == vfs.OpSync {
			return syscall.EIO
		}
		return nil
	})
	if _, err := c.putAt("n3", []byte("x")); err == nil {
		t.Fatal("put on a disk whose sync fails")
	}
	c.until("the cell knows", func(n *Node) bool {
		return strings.Contains(n.log.View().Node("n3").Refuses, syscall.EIO.Error())
	})
	if said := c.nodes["n3"].diskStatus().Refuses; !strings.Contains(said, syscall.EIO.Error()) {
		t.Errorf("its own status says %q", said)
	}
}
