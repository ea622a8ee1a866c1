package node

import (
	"bytes"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// ownDisk is a file system on which each node has a disk of 64 MiB for itself: what its folder holds is used of it.
type ownDisk struct{ vfs.FS }

func (ownDisk) Space(dir string) (vfs.Space, error) {
	const total = 64 << 20
	used := int64(0)
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // it may have gone meanwhile
		}
		if info, err := d.Info(); err == nil {
			used += info.Size()
		}
		return nil
	})
	return vfs.Space{TotalBytes: total, FreeBytes: uint64(max(total-used, 0))}, err
}

// A node that joins three which are half full gets its share, when a person asks for that; then it ends. Every byte is
// there, each extent has its three replicas, and its old files are gone.
func TestNewNodeGetsItsShare(t *testing.T) {
	t.Parallel()
	c := newCellWith(t, 3, 0, func(cfg *Config) { cfg.FS = ownDisk{vfs.OS{}} })
	const puts = 16
	var locs []wire.Locator
	for i := range puts {
		locs = append(locs, c.sealed(pattern(uint64(i), 2<<20)))
	}
	l := lasting(t)
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	c.startNew("n4", addr)
	c.ready("n4")
	c.up(4)
	if err := c.client.SetSetting(testContext(t), state.KeyBalance, "once"); err != nil {
		t.Fatal(err)
	}
	c.until("the cell is balanced", func(n *Node) bool {
		v := n.log.View()
		// n1 to n3 began with 32 MiB; with 24 MiB each, all four are alike.
		return v.Settings.Balance == state.BalanceOff && v.CountReplicas("n4") >= puts/2
	})
	c.until("nothing more to drop", func(n *Node) bool { return n.log.View().Counts().Drops == 0 })
	for i, loc := range locs {
		e := c.any().log.View().Extent(state.ExtentID(loc.Extent))
		if e.State != state.ExtentSealed || len(e.Replicas) != 3 || c.any().log.View().Live(e) != 3 {
			t.Errorf("%s, want three whole replicas", e)
		}
		for _, r := range e.Replicas {
			got, err := c.get(loc, string(r.Node))
			if err != nil || !bytes.Equal(got, pattern(uint64(i), 2<<20)) {
				t.Errorf("extent %d on %s: %d bytes, %v", loc.Extent, r.Node, len(got), err)
			}
		}
	}
}
