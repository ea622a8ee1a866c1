package node

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// twoDisks is a cell of three nodes with two disks each, whose calls to their files may be made to fail.
func twoDisks(t *testing.T) (*cell, map[string]*vfs.Fault) {
	faults := map[string]*vfs.Fault{}
	c := newCellWith(t, 3, 0, func(cfg *Config) {
		faults[cfg.ID] = vfs.NewFault(vfs.OS{})
		cfg.FS, cfg.Disks = faults[cfg.ID], []string{filepath.Join(t.TempDir(), "more")}
		cfg.HTTP = "127.0.0.1:0"
	})
	return c, faults
}

// onDisk is how many replicas a disk of a node has, and how that disk is.
func (c *cell) onDisk(node, disk string) (wire.Disk, bool) {
	for _, d := range c.nodes[node].disks.Describe() {
		if d.Disk == disk {
			return d, true
		}
	}
	return wire.Disk{}, false
}

func (c *cell) diskState(node, disk, want string) {
	c.t.Helper()
	d, ok := c.onDisk(node, disk)
	if !ok || d.State != want {
		c.t.Fatalf("disk %s of %s: %+v, want %s", disk, node, d, want)
	}
}

// spread puts sealed extents until a node has some on both of its disks.
func (c *cell) spread(node string, acked map[wire.Locator][]byte) {
	c.t.Helper()
	for i := range uint64(40) {
		p := pattern(i, 3000)
		acked[c.sealed(p)] = p
		first, _ := c.onDisk(node, "d0")
		if second, _ := c.onDisk(node, "d1"); i > 4 && first.Extents > 0 && second.Extents > 1 {
			return
		}
	}
	c.t.Fatalf("%s uses one disk only: %+v", node, c.nodes[node].disks.Describe())
}

// lostReads reads all from one node: what it cannot read is not called damaged or absent.
func (c *cell) lostReads(node string, acked map[wire.Locator][]byte) (refused int) {
	c.t.Helper()
	view := c.nodes[node].log.View()
	for loc, want := range acked {
		if _, holds := view.Extent(state.ExtentID(loc.Extent)).Replica(state.NodeID(node)); !holds {
			continue // made when the node did not take it
		}
		got, err := c.get(loc, node)
		switch {
		case err == nil && !bytes.Equal(got, want):
			c.t.Errorf("%v on %s: other bytes", loc, node)
		case err != nil && wire.CodeOf(err) != wire.CodeDiskFailed:
			c.t.Errorf("%v on %s: %v, want code disk-failed", loc, node, err)
		case err != nil:
			refused++
		}
	}
	return refused
}

// One of two disks of a node fails its sync while puts go on: nothing else stops, what it had is repaired on the other
// disk of the node, and of two replicas the newer counts once the disk is back.
func TestOneDiskOfTwoFails(t *testing.T) {
	t.Parallel()
	c, faults := twoDisks(t)
	acked := map[wire.Locator][]byte{}
	c.spread("n2", acked)
	w := c.write(4)
	w.wait(t, 20)
	more := c.configs["n2"].Disks[0]
	faults["n2"].Set(func(call vfs.Call) error {
		if call.Op == vfs.OpSync && strings.HasPrefix(call.Name, more) {
			return errors.New("sync failed")
		}
		return nil
	})
	c.untilTrue("the disk is given up", func() bool { d, _ := c.onDisk("n2", "d1"); return d.State == "failed" })
	_, metrics := httpGet(t, c.nodes["n2"], "/metrics")
	for _, want := range []string{
		`datanode_data_disk_state{disk="d0",state="ok"} 1`, `datanode_data_disk_state{disk="d1",state="failed"} 1`,
		`datanode_data_disk_refuses{disk="d1"} 1`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("the metrics do not have %s", want)
		}
	}
	c.untilTrue("the cell says so", func() bool {
		all, err := c.client.Nodes(testContext(t))
		if err != nil || len(all[1].Disks) != 1 {
			return false
		}
		d := all[1].Disks[0]
		return d.Node == "n2" && d.Disk == "d1" && d.State == wire.DiskFailed && d.Since > 0 && d.Why != ""
	})
	c.lostReads("n2", acked)
	w.drain()
	w.wait(t, 50) // puts go on
	maps.Copy(acked, w.end())
	c.diskState("n2", "d0", "ok")
	if node := c.nodes["n2"].log.View().Node("n2"); node.State != state.NodeUp {
		t.Errorf("n2 is %s", node.State)
	}
	c.whole()
	c.everyReplica(acked)
	if n := c.lostReads("n2", acked); n > 0 {
		t.Errorf("%d replicas cannot be read on n2 after all have been repaired", n)
	}

	c.kill("n2")
	faults["n2"].Set(nil)
	c.start("n2")
	c.ready("n2")
	c.whole()
	c.diskState("n2", "d1", "ok")
	c.everyReplica(acked)
	c.sameChain()
}

// hangingDisk is a file system on which syncs of files under a folder do not return while it hangs.
type hangingDisk struct {
	vfs.FS
	under string
	hangs atomic.Pointer[chan struct{}] // closed when it answers again; nil: it does not hang
}

type hangingFile struct {
	vfs.File
	of *hangingDisk
}

func (h *hangingDisk) file(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil || !strings.HasPrefix(name, h.under) {
		return f, err
	}
	return &hangingFile{f, h}, nil
}

func (h *hangingDisk) Create(name string) (vfs.File, error) {
	f, err := h.FS.Create(name)
	return h.file(name, f, err)
}

func (h *hangingDisk) OpenRW(name string) (vfs.File, error) {
	f, err := h.FS.OpenRW(name)
	return h.file(name, f, err)
}

func (f *hangingFile) Sync() error {
	if answers := f.of.hangs.Load(); answers != nil {
		<-*answers
	}
	return f.File.Sync()
}

// A disk that hangs is given up, while puts at its node and at others go on.
func TestOneDiskOfTwoHangs(t *testing.T) {
	t.Parallel()
	disk := &hangingDisk{FS: vfs.OS{}}
	c := newCellWith(t, 3, 0, func(cfg *Config) {
		cfg.Disks = []string{filepath.Join(t.TempDir(), "more")}
		if cfg.ID == "n2" {
			disk.under, cfg.FS = cfg.Disks[0], disk
		}
	})
	acked := map[wire.Locator][]byte{}
	c.spread("n2", acked)
	w := c.write(4)
	w.wait(t, 20)
	answers := make(chan struct{})
	disk.hangs.Store(&answers)
	c.untilTrue("the disk is given up", func() bool { d, _ := c.onDisk("n2", "d1"); return d.State == "failed" })
	w.drain()
	w.wait(t, 50)
	if why := c.nodes["n2"].hang.Err(); why != nil {
		t.Errorf("the whole node says that it hangs: %v", why)
	}
	maps.Copy(acked, w.end())
	c.whole()
	c.everyReplica(acked)
	close(answers)
}

// A disk that is not there when its node starts is not made anew where nothing is mounted: its extents are repaired,
// and when it is back, what it has does not count unless the log says so.
func TestDiskIsMissing(t *testing.T) {
	t.Parallel()
	c, _ := twoDisks(t)
	acked := map[wire.Locator][]byte{}
	c.spread("n2", acked)
	c.kill("n2")
	more := c.configs["n2"].Disks[0]
	if err := os.Rename(more, more+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(more, 0o700); err != nil { // the mount point
		t.Fatal(err)
	}
	c.start("n2")
	c.ready("n2")
	c.diskState("n2", "d1", "missing")
	c.lostReads("n2", acked)
	c.whole()
	c.everyReplica(acked)
	if n := c.lostReads("n2", acked); n > 0 {
		t.Errorf("%d replicas cannot be read on n2 after all have been repaired", n)
	}
	if names, err := os.ReadDir(more); err != nil || len(names) > 0 {
		t.Errorf("something was written where the disk was: %v %v", names, err)
	}

	c.kill("n2")
	if err := errors.Join(os.Remove(more), os.Rename(more+".away", more)); err != nil {
		t.Fatal(err)
	}
	c.start("n2")
	c.ready("n2")
	c.diskState("n2", "d1", "ok")
	c.whole()
	c.everyReplica(acked)
	ids := map[extent.ID]int{}
	for _, dir := range []string{c.configs["n2"].Dir, more} {
		names, err := filepath.Glob(filepath.Join(dir, "store", "extents", "*", "*.ext"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			var id extent.ID
			for _, r := range strings.TrimSuffix(filepath.Base(name), ".ext") {
				id = id*10 + extent.ID(r-'0')
			}
			if ids[id]++; ids[id] > 1 {
				t.Errorf("extent %d is on both disks", id)
			}
		}
	}
}

// Folders that cannot be a disk of the node are refused, with what to do.
func TestWrongDisks(t *testing.T) {
	t.Parallel()
	c := newCellWith(t, 1, 0, func(cfg *Config) { cfg.Disks = []string{filepath.Join(t.TempDir(), "more")} })
	good := c.configs["n1"]
	c.put(pattern(1, 100))
	c.kill("n1")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(good.Disks[0], link); err != nil {
		t.Fatal(err)
	}
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "thesis.txt"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	others := filepath.Join(t.TempDir(), "others")
	o := newCellWith(t, 1, 0, func(cfg *Config) { cfg.Disks = []string{others} })
	o.kill("n1")
	for _, bad := range []struct {
		name, want string
		change     func(*Config)
	}{
		{"the same folder twice", "same disk", func(cfg *Config) { cfg.Disks = []string{good.Disks[0], good.Disks[0]} }},
		{"by a symbolic link", "same disk", func(cfg *Config) { cfg.Disks = []string{good.Disks[0], link} }},
		{"the first folder", "named twice", func(cfg *Config) { cfg.Disks = []string{good.Dir} }},
		{"another node's first", "first --dir of a node", func(cfg *Config) { cfg.Disks = []string{o.configs["n1"].Dir} }},
		{"another cell's", "belongs to cell", func(cfg *Config) { cfg.Disks = []string{others} }},
		{"not empty", "must be empty", func(cfg *Config) { cfg.Disks = []string{good.Disks[0], full} }},
		{"as the first", "further disk", func(cfg *Config) { cfg.Dir, cfg.Disks = good.Disks[0], nil }},
	} {
		cfg := good
		bad.change(&cfg)
		n, err := Start(t.Context(), cfg)
		if err == nil {
			n.Close()
			t.Errorf("%s: taken", bad.name)
			continue
		}
		oneLine(t, err, bad.want)
	}
	c.start("n1")
	c.ready("n1")
	c.diskState("n1", "d1", "ok")
}

// drained waits until a disk of a node has nothing any more that counts.
func (c *cell) drained(node, disk string) {
	c.t.Helper()
	c.untilTrue("the disk is drained", func() bool {
		d, _ := c.onDisk(node, disk)
		return d.State == wire.DiskDrained && d.Extents == 0
	})
}

// A disk is drained under puts, gets and deletes, across a kill of its node: all that was acknowledged is on the node's
// other disk in the end, what was deleted stays deleted, and then the disk can be taken out.
func TestDrainDisk(t *testing.T) {
	t.Parallel()
	c, _ := twoDisks(t)
	acked := map[wire.Locator][]byte{}
	c.spread("n2", acked)
	kept := c.sealed(pattern(99, 90_000))
	acked[wire.Locator{Extent: kept.Extent, Offset: kept.Offset + 80_000, Length: 10_000, Birth: kept.Birth}] =
		pattern(99, 90_000)[80_000:]
	deleted := kept
	deleted.Length = 70_000
	w := c.write(4)
	w.wait(t, 20)
	ctx := testContext(t)
	if now, err := c.client.ChangeDisk(ctx, "n2", "d1", wire.DiskDrain); err != nil ||
		now.State != wire.DiskDraining && now.State != wire.DiskDrained {
		t.Fatalf("%+v, %v", now, err)
	}
	c.punched(deleted)
	c.kill("n2")
	c.start("n2")
	c.ready("n2")
	w.drain()
	w.wait(t, 50) // puts go on
	c.drained("n2", "d1")
	maps.Copy(acked, w.end())
	c.whole()
	c.drained("n2", "d1")
	c.everyReplica(acked)
	c.deletedEverywhere(deleted)
	if n := c.lostReads("n2", acked); n > 0 {
		t.Errorf("%d replicas cannot be read on n2", n)
	}
	c.untilTrue("the scrub has read all", func() bool { c.scrubbed("n2"); return true })
	more := c.configs["n2"].Disks[0]
	if files, err := filepath.Glob(filepath.Join(more, "store", "extents", "*", "*.ext")); err != nil || len(files) > 0 {
		t.Errorf("on the disk that is drained: %v, %v", files, err)
	}
	if now, err := c.client.ChangeDisk(ctx, "n2", "d1", wire.DiskKeep); err != nil || now.State != wire.DiskOK {
		t.Errorf("%+v, %v", now, err)
	}
	c.sameChain()
}

// What is wrong with a drain is refused by name.
func TestDrainRefusals(t *testing.T) {
	t.Parallel()
	c := newCell(t, 1, 0)
	for _, bad := range []struct {
		node, disk, change string
		code               wire.Code
	}{
		{"n1", "d0", wire.DiskDrain, wire.CodeInvalid},
		{"n1", "d1", wire.DiskDrain, wire.CodeNotFound},
		{"n1", "", wire.DiskKeep, wire.CodeNotFound},
		{"n1", "d0", "", wire.CodeInvalid},
		{"n9", "d1", wire.DiskDrain, wire.CodeNotFound},
	} {
		_, err := c.client.ChangeDisk(testContext(t), bad.node, bad.disk, bad.change)
		if wire.CodeOf(err) != bad.code {
			t.Errorf("%q %s of %s: %v, want code %s", bad.change, bad.disk, bad.node, err, bad.code)
		}
	}
}

// A disk that is missing for good is taken out once what it had is repaired, another takes its place at the next start,
// and the old one is refused by name.
func TestReplaceDisk(t *testing.T) {
	t.Parallel()
	c, _ := twoDisks(t)
	acked := map[wire.Locator][]byte{}
	c.spread("n2", acked)
	c.kill("n2")
	old := c.configs["n2"].Disks[0]
	start := func(dirs ...string) {
		t.Helper()
		cfg := c.configs["n2"]
		cfg.Disks = dirs
		c.configs["n2"] = cfg
		c.start("n2")
		c.ready("n2")
	}
	start()
	c.diskState("n2", "d1", "missing")
	c.untilTrue("the disk is taken out", func() bool {
		now, err := c.client.ChangeDisk(testContext(t), "n2", "d1", wire.DiskReplace)
		if err != nil && wire.CodeOf(err) != wire.CodeConflict {
			t.Fatal(err)
		}
		return err == nil && now.State == wire.DiskGone
	})
	c.whole()
	c.everyReplica(acked)
	if n := c.lostReads("n2", acked); n > 0 {
		t.Errorf("%d replicas cannot be read on n2", n)
	}
	if d, ok := c.onDisk("n2", "d1"); ok {
		t.Errorf("it is there: %+v", d)
	}
	c.kill("n2")
	cfg := c.configs["n2"]
	cfg.Disks = []string{old}
	if n, err := Start(t.Context(), cfg); err == nil {
		n.Close()
		t.Error("the old disk is taken again")
	} else {
		oneLine(t, err, "taken out of n2")
	}
	start(filepath.Join(t.TempDir(), "new"))
	c.diskState("n2", "d2", "ok")
	c.everyReplica(acked)
}
