package diskspace

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/wire"
)

const (
	mib         = 1 << 20
	appendBytes = mib
)

// fullDisk is a disk in memory with a file of somebody else's on it, which can grow and shrink.
type fullDisk struct {
	*testing.T
	mem     *vfs.Mem
	foreign vfs.File
	setting uint64
	disk    *Disk
}

func newFullDisk(t *testing.T, bytes int64) *fullDisk {
	d := &fullDisk{T: t, mem: vfs.NewMem()}
	d.mem.Limit(bytes)
	d.must(d.mem.MkdirAll("/data"))
	f, err := d.mem.Create("/foreign")
	d.must(err)
	d.foreign = f
	d.open()
	return d
}

func (d *fullDisk) must(err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
}

func (d *fullDisk) open() {
	d.Helper()
	disk, err := Open(Options{
		FS: d.mem, Dir: "/data", Node: "n1", Logger: slog.New(slog.DiscardHandler), AppendBytes: appendBytes,
		Reserve: func() (uint64, bool) { return d.setting, true },
	})
	d.must(err)
	d.disk = disk
}

// leave makes the foreign file so large that so many bytes are free.
func (d *fullDisk) leave(free int64) {
	d.Helper()
	size, err := d.foreign.Size()
	d.must(err)
	space, err := d.mem.Space("/")
	d.must(err)
	d.must(d.foreign.Truncate(size + int64(space.FreeBytes) - free))
}

func (d *fullDisk) takes(want bool) {
	d.Helper()
	d.disk.keep()
	err := d.disk.Take(wire.OpAppend, 1)
	if (err == nil) != want || err != nil && wire.CodeOf(err) != wire.CodeNoSpace {
		d.Fatalf("%d bytes free: takes %t, want %t: %v", d.disk.Status().Free, err == nil, want, err)
	}
	if said := d.disk.Status().Refuses; (said == "") != want {
		d.Fatalf("takes %t and says %q", want, said)
	}
}

// The reserve is a file. Under it nothing is taken, and it takes twice as much room to begin again.
func TestReserve(t *testing.T) {
	d := newFullDisk(t, 80*mib)
	d.takes(true)
	if got := d.disk.Status(); got.Reserve != 4*mib || got.Free != 76*mib || got.Total != 80*mib {
		t.Fatalf("an empty disk: %+v", got)
	}
	low := int64(appendBytes + appendExtra)
	d.leave(low)
	d.takes(true)
	d.leave(low - 1)
	d.takes(false)
	d.leave(2*low - 1)
	d.takes(false)
	d.leave(2 * low)
	d.takes(true)
	// When as much is taken as there was at the last look, the disk is looked at anew, not at the next turn.
	d.leave(low - 1)
	if err := d.disk.Take(wire.OpAppend, int(low)); wire.CodeOf(err) != wire.CodeNoSpace {
		t.Errorf("beyond what was left: %v", err)
	}
}

// The reserve is given back in steps while a write finds no space, and is made whole again when there is some.
func TestReserveIsGivenBack(t *testing.T) {
	d := newFullDisk(t, 80*mib)
	d.takes(true)
	d.leave(0)
	given := 0
	for d.disk.MakeRoom() {
		given++
		space, err := d.mem.Space("/")
		d.must(err)
		if space.FreeBytes != mib/2 {
			t.Fatalf("step %d gave %d bytes", given, space.FreeBytes)
		}
		d.leave(0) // the log, or somebody else
	}
	if given != reserveSteps {
		t.Errorf("a reserve of 4 MiB is given back in %d steps, want %d", given, reserveSteps)
	}
	d.takes(false)
	if said := d.disk.Status(); said.Reserve != 0 || said.Free != 0 || !strings.Contains(said.Refuses, "in use") {
		t.Errorf("with nothing left: %+v", said)
	}
	d.leave(20 * mib)
	d.takes(true)
	if got := d.disk.Status(); got.Reserve != 4*mib || got.Free != 16*mib {
		t.Errorf("with room again: %+v", got)
	}
}

// On a full disk the start gives some of the reserve back first of all, and the setting is followed either way.
func TestReserveAtStart(t *testing.T) {
	d := newFullDisk(t, 80*mib)
	d.takes(true)
	d.leave(0)
	d.open()
	if space, err := d.mem.Space("/"); err != nil || space.FreeBytes < startFree {
		t.Errorf("after the start %d bytes are free, want %d (%v)", space.FreeBytes, startFree, err)
	}
	d.leave(60 * mib)
	for set, want := range map[uint64]uint64{8 * mib: 8 * mib, mib: mib, 1 << 40: 20 * mib, 0: 4 * mib} {
		d.setting = set
		d.takes(true)
		if got := d.disk.Status().Reserve; got != want {
			t.Errorf("a setting of %d keeps %d bytes, want %d", set, got, want)
		}
	}
	// Where nobody can say how full the disk is, everything is taken until the disk itself refuses.
	d.mem.Limit(0)
	d.takes(true)
}

// kind is a disk of a file system.
type kind struct {
	vfs.FS
	name string
}

func (k kind) Space(dir string) (vfs.Space, error) {
	space, err := k.FS.Space(dir)
	space.Kind = k.name
	return space, err
}

// A folder on a file system that does not suit a node is warned of at the start, and in what the node says of its disk.
func TestFileSystemIsWarnedOf(t *testing.T) {
	for name, warned := range map[string]bool{"": false, "ext4": false, "xfs": false, "btrfs": true, "fuse": true} {
		var log strings.Builder
		mem := vfs.NewMem()
		mem.Limit(80 * mib)
		disk, err := Open(Options{
			FS: kind{mem, name}, Dir: "/data", Node: "n1", Logger: slog.New(slog.NewTextHandler(&log, nil)),
			AppendBytes: appendBytes, Reserve: func() (uint64, bool) { return 0, true },
		})
		if err != nil {
			t.Fatal(err)
		}
		logged := strings.Contains(log.String(), "level=WARN") && strings.Contains(log.String(), "xfs or ext4")
		if said := disk.Status().Caution != ""; logged != warned || said != warned {
			t.Errorf("%q: logged %t, said %t, want %t\n%s", name, logged, said, warned, &log)
		}
	}
}
