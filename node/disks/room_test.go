package disks

import (
	"testing"

	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/wire"
)

// sized is a file system whose folders are disks of their own, with so many bytes free.
type sized struct {
	vfs.FS
	free map[string]uint64
}

func (s sized) Space(dir string) (vfs.Space, error) {
	return vfs.Space{FreeBytes: s.free[dir], TotalBytes: 100 << 30}, nil
}

// A replica that is copied goes to a disk with room for all of it, and to none where no disk has; a node says how much
// its emptiest disk may take.
func TestCopyGoesWhereAllOfItFits(t *testing.T) {
	const gib, mib = 1 << 30, 1 << 20
	fsys := sized{FS: vfs.NewMem(), free: map[string]uint64{"/a": 900 * mib, "/b": 900 * mib, "/c": 900 * mib,
		"/d": 900 * mib}}
	d := must(t, fsys, "/b", "/c", "/d")
	s := d.Status()
	if s.Free != 4*s.Largest || s.Largest > 900*mib || s.Largest < 500*mib {
		t.Errorf("four disks alike: %+v", s)
	}
	if _, err := d.StageFor(1, 5, 7, gib); extent.CodeOf(err) != extent.CodeNoSpace {
		t.Errorf("1 GiB is to go where four disks have less: %v", err)
	}
	if staged := d.Staged(); len(staged) > 0 {
		t.Errorf("staged: %v", staged)
	}
	if stage, err := d.StageFor(1, 5, 7, 100*mib); err != nil {
		t.Error(err)
	} else if err := stage.Discard(); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	fsys.free["/c"] = 8 * gib
	d = must(t, fsys, "/b", "/c", "/d")
	for id := extent.ID(10); id < 40; id++ {
		stage, err := d.StageFor(id, 5, 7, gib)
		if err != nil {
			t.Fatal(err)
		}
		if err := stage.Close(); err != nil {
			t.Error(err)
		}
		if k, trace := d.best(id); trace != extent.TraceStaged || k.dir != "/c" {
			t.Fatalf("extent %d is copied to %s", id, k)
		}
	}
	if s := d.Status(); s.Largest < 7*gib || s.Free <= s.Largest {
		t.Errorf("one disk with more room: %+v", s)
	}
	if _, err := d.Change("d2", wire.DiskDrain); err != nil {
		t.Fatal(err)
	}
	if _, err := d.StageFor(50, 5, 7, gib); extent.CodeOf(err) != extent.CodeNoSpace {
		t.Errorf("1 GiB, and the only disk with room is drained: %v", err)
	}
}
