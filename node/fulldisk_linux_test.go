package node

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// realDisk mounts a disk of its own for one node: ext4 in a file. Only root can, with mkfs.ext4; without these the
// test is skipped, but not where CI is set, as a test that no machine runs proves nothing.
func realDisk(t *testing.T, bytes int64) (dir string) {
	t.Helper()
	missing := t.Skip
	if os.Getenv("CI") != "" {
		missing = t.Fatal
	}
	if os.Getuid() != 0 {
		missing("only root mounts disks")
	}
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		missing("there is no mkfs.ext4 (apt install e2fsprogs): ", err)
	}
	base := t.TempDir()
	image, dir := filepath.Join(base, "image"), filepath.Join(base, "disk")
	err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, bytes), os.Mkdir(dir, 0o700))
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"mkfs.ext4", "-q", "-m", "0", image},
		{"mount", "-o", "loop,errors=remount-ro", image, dir},
	} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			if os.Getenv("CI") == "" {
				t.Skipf("%s cannot mount a disk here: %s", args[0], out)
			}
			t.Fatalf("%s: %v: %s", args[0], err, out)
		}
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// Extents fill the disks of all nodes. What is there can still be deleted, nodes start, and once there is room
// puts work.
func TestFullCell(t *testing.T) {
	c := newCellWith(t, 3, 0, func(cfg *Config) { cfg.Dir = filepath.Join(realDisk(t, 24*mib), "data") })
	var stored []wire.Locator
	for len(stored) < 100 {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		loc, err := c.putAt("n1", pattern(uint64(len(stored)), 2*mib))
		cancel()
		if err != nil {
			if wire.CodeOf(err) != wire.CodeNoSpace && ctx.Err() == nil {
				t.Logf("the last put: %v", err)
			}
			break
		}
		stored = append(stored, loc)
	}
	c.until("nobody takes anything", func(n *Node) bool {
		takes := false
		n.log.View().Nodes(func(node *state.Node) bool { takes = takes || node.Takes(); return true })
		return !takes
	})
	t.Logf("%d puts of 2 MiB fit", len(stored))
	for _, id := range []string{"n1", "n2", "n3"} {
		c.kill(id)
	}
	for _, id := range []string{"n1", "n2", "n3"} {
		c.start(id)
	}
	for _, id := range []string{"n1", "n2", "n3"} {
		c.ready(id)
	}
	c.up(3)
	for _, loc := range stored[:3] {
		if ops := c.run(wire.Submission{Kind: "delete", Extent: loc.Extent}); ops[0].State != "done" {
			t.Errorf("delete of extent %d on a full cell: %s %s", loc.Extent, ops[0].State, ops[0].Detail)
		}
	}
	c.until("all take replicas", func(n *Node) bool {
		all := true
		n.log.View().Nodes(func(node *state.Node) bool { all = all && node.Takes(); return true })
		return all
	})
	if _, err := c.putAt("n1", pattern(99, 1000)); err != nil {
		t.Errorf("put with room again: %v", err)
	}
}
