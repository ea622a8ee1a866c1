package disks

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/diskspace"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/wire/mux"
)

// opened are the disks of a node on a file system, whose first folder is /a and further ones those named. The caller
// closes them.
func opened(fsys vfs.FS, more ...string) (*Disks, error) {
	o := Options{
		Node: "n1", Incarnation: 1, Cell: func() string { return "" }, FS: fsys, Clock: clock.Of(mux.Clock{}),
		Logger: slog.New(slog.DiscardHandler), Look: time.Hour, Probe: time.Hour, HungAfter: time.Hour, Dir: "/a", More: more,
	}
	o.OpenSpace = func(fsys vfs.FS, dir string) (*diskspace.Disk, error) {
		return diskspace.Open(diskspace.Options{FS: fsys, Dir: dir, Node: "n1", Logger: o.Logger, Clock: o.Clock,
			Look: time.Hour, AppendBytes: 1 << 20, Reserve: func() (uint64, bool) { return 0, false }})
	}
	if err := fsys.MkdirAll("/a"); err != nil {
		return nil, err
	}
	var err error
	if o.Space, err = o.OpenSpace(fsys, "/a"); err != nil {
		return nil, err
	}
	if o.Store, o.Recovery, err = extent.Begin(fsys, "/a/store", extent.Options{}); err != nil {
		return nil, err
	}
	d, err := Open(o)
	if err != nil {
		return nil, errors.Join(err, o.Store.Close())
	}
	if _, err := d.Recover(context.Background()); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func must(t *testing.T, fsys vfs.FS, more ...string) *Disks {
	t.Helper()
	d, err := opened(fsys, more...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// filled makes extents 1 to n of one append each.
func filled(t *testing.T, d *Disks, n extent.ID) {
	t.Helper()
	for id := range n {
		if err := errors.Join(d.Create(id+1, 1, 7), d.Append(id+1, 1, 0, text(id+1))); err != nil {
			t.Fatal(err)
		}
	}
}

func text(id extent.ID) []byte { return fmt.Appendf(nil, "the bytes of extent %d", id) }

func on(t *testing.T, d *Disks, id extent.ID) *disk {
	t.Helper()
	k, trace := d.best(id)
	if trace != extent.TraceHeld {
		t.Fatalf("nothing has extent %d", id)
	}
	return k
}

// A node with one folder writes nothing that builds before this did not.
func TestOneFolderIsAsBefore(t *testing.T) {
	fsys := vfs.NewMem()
	d := must(t, fsys)
	filled(t, d, 3)
	names, err := fsys.List("/a")
	if err != nil || !slices.Equal(names, []string{"store"}) {
		t.Errorf("/a has %v, %v", names, err)
	}
	if d.AnyLost() || d.NotOK() != nil || len(d.Describe()) != 1 {
		t.Errorf("%+v", d.Describe())
	}
}

// New extents go to all disks, what is known of one stays where it is, and all is there after a start.
func TestSpreadAndFoundAgain(t *testing.T) {
	fsys := vfs.NewMem()
	d := must(t, fsys, "/b", "/c")
	filled(t, d, 60)
	where := map[extent.ID]string{}
	count := map[string]int{}
	for id := extent.ID(1); id <= 60; id++ {
		where[id] = on(t, d, id).id
		count[where[id]]++
	}
	for _, id := range []string{"d0", "d1", "d2"} {
		if count[id] < 10 {
			t.Errorf("%s has %d of 60 extents", id, count[id])
		}
	}
	if err := d.RaiseFence(100, 9); err != nil { // before its create
		t.Fatal(err)
	}
	if err := d.Create(100, 8, 7); extent.CodeOf(err) != extent.CodeStaleFence {
		t.Errorf("a create under a lower fence: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = must(t, fsys, "/c", "/b") // in another order
	if err := d.Create(100, 8, 7); extent.CodeOf(err) != extent.CodeStaleFence {
		t.Errorf("a create under a lower fence after a start: %v", err)
	}
	for id, disk := range where {
		if k := on(t, d, id); k.id != disk {
			t.Errorf("extent %d is on %s, was on %s", id, k.id, disk)
		}
		p := make([]byte, len(text(id)))
		if _, err := d.ReadAt(id, p, 0); err != nil || string(p) != string(text(id)) {
			t.Errorf("extent %d: %q, %v", id, p, err)
		}
	}
	if ids := d.IDs(); len(ids) != 60 || !slices.IsSorted(ids) {
		t.Errorf("%v", ids)
	}
}

// A disk whose sync fails refuses what is on it by that name, and nothing else does. What is staged beside it counts
// once it is back.
func TestFailedDisk(t *testing.T) {
	faults := vfs.NewFault(vfs.NewMem())
	d := must(t, faults, "/b")
	filled(t, d, 20)
	was := map[extent.ID]string{}
	for id := extent.ID(1); id <= 20; id++ {
		was[id] = on(t, d, id).id
	}
	faults.Set(func(call vfs.Call) error {
		if call.Op == vfs.OpSync && strings.HasPrefix(call.Name, "/b/") {
			return errors.New("sync failed")
		}
		return nil
	})
	var lost []extent.ID
	for id := extent.ID(1); id <= 20; id++ {
		bad := was[id] == "d1"
		err := d.Append(id, 1, uint64(len(text(id))), []byte("more"))
		if bad {
			lost = append(lost, id)
		}
		if bad != (extent.CodeOf(err) == extent.CodeDiskFailed) || !bad && err != nil {
			t.Errorf("append to extent %d, on the failed disk: %v: %v", id, bad, err)
		}
	}
	if len(lost) == 0 {
		t.Fatal("nothing is on /b")
	}
	d.look()
	for _, id := range lost {
		if _, err := d.Stat(id); extent.CodeOf(err) != extent.CodeDiskFailed || !d.Lost(id) {
			t.Errorf("extent %d: %v", id, err)
		}
		if err := d.Seal(id, 1); extent.CodeOf(err) != extent.CodeDiskFailed {
			t.Errorf("seal of extent %d: %v", id, err)
		}
		p := make([]byte, len(text(id)))
		if _, err := d.ReadAt(id, p, 0); err != nil || string(p) != string(text(id)) {
			t.Errorf("what the failed disk still reads of extent %d: %q, %v", id, p, err)
		}
		if _, err := d.ReadAt(id, make([]byte, 500), 0); extent.CodeOf(err) != extent.CodeDiskFailed {
			t.Errorf("what it does not: %v", err)
		}
	}
	id := lost[0]
	if _, err := d.Stage(id, 0, 7); extent.CodeOf(err) != extent.CodeStaleFence {
		t.Errorf("a stage below the fence that the failed disk knows: %v", err)
	}
	restage(t, d, id)
	if d.Lost(id) || on(t, d, id).id != "d0" {
		t.Error("repaired beside the failed disk, and still lost")
	}
	if err := d.Create(99, 1, 7); err != nil || on(t, d, 99).id != "d0" {
		t.Errorf("a create beside the failed disk: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	faults.Set(nil)
	d = must(t, faults, "/b")
	if k := on(t, d, id); k.id != "d0" {
		t.Errorf("the older replica counts, on %s", k.id)
	}
	if trace := d.disks()[1].store.Trace(id); trace == extent.TraceHeld {
		t.Error("both replicas are there")
	}
	if names, err := faults.List("/b/store/quarantine"); err != nil || len(names) != 2 {
		t.Errorf("in quarantine: %v, %v", names, err)
	}
}

// A disk to which nothing is written is given up as well when it fails or hangs.
func TestIdleDiskIsTried(t *testing.T) {
	for name, hangs := range map[string]bool{"fails": false, "hangs": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				faults, answers := vfs.NewFault(vfs.NewMem()), make(chan struct{})
				d := must(t, &slowSyncs{FS: faults, under: "/b", answers: answers}, "/b")
				if !hangs {
					close(answers)
				}
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan struct{})
				go func() { d.Run(ctx); close(ended) }()
				k := d.disks()[1]
				time.Sleep(3 * d.o.Probe)
				if !hangs && !k.works() {
					t.Errorf("given up before it fails: %v", k.err())
				}
				faults.Set(func(call vfs.Call) error {
					if call.Op == vfs.OpSync && call.Name == "/b/"+IdentityFile {
						return errors.New("sync failed")
					}
					return nil
				})
				<-k.gone
				if k.isHung() != hangs {
					t.Errorf("it is given up with: %v", k.err())
				}
				cancel()
				<-ended
				if hangs {
					close(answers)
				}
			})
		})
	}
}

// slowSyncs is a file system on which syncs of the identity of a folder wait for a channel.
type slowSyncs struct {
	vfs.FS
	under   string
	answers chan struct{}
}

func (s *slowSyncs) OpenRW(name string) (vfs.File, error) {
	f, err := s.FS.OpenRW(name)
	if err == nil && name == filepath.Join(s.under, IdentityFile) {
		f = slowFile{f, s.answers}
	}
	return f, err
}

type slowFile struct {
	vfs.File
	answers chan struct{}
}

func (f slowFile) Sync() error {
	<-f.answers
	return f.File.Sync()
}

func restage(t *testing.T, d *Disks, id extent.ID) {
	t.Helper()
	stage, err := d.Stage(id, 5, 7)
	if err == nil {
		p := text(id)
		sum := crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli))
		err = errors.Join(stage.Append(p), stage.Commit(uint64(len(p)), sum), stage.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A disk that is not there has what it had, as far as anybody can tell: it is not absent.
func TestMissingDisk(t *testing.T) {
	fsys := vfs.NewMem()
	d := must(t, fsys, "/b")
	filled(t, d, 20)
	had := map[extent.ID]bool{}
	for id := extent.ID(1); id <= 20; id++ {
		had[id] = on(t, d, id).id == "d1"
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = must(t, fsys) // --dir /a alone
	if !d.AnyLost() || !strings.Contains(fmt.Sprint(d.NotOK()), "mount it") {
		t.Errorf("%+v", d.NotOK())
	}
	for id, lost := range had {
		if d.Lost(id) != lost {
			t.Errorf("extent %d is lost: %v, was on /b: %v", id, !lost, lost)
		}
		if _, err := d.Stat(id); lost != (extent.CodeOf(err) == extent.CodeDiskFailed) {
			t.Errorf("extent %d: %v", id, err)
		}
	}
	if err := errors.Join(d.RaiseFence(7, 3), d.Drop(7)); err != nil {
		t.Errorf("a drop of what is gone with its disk: %v", err)
	}
}

// Whatever call of the first start with two disks is the last one, the next start opens both.
func TestCrashAtOpen(t *testing.T) {
	for n := 1; ; n++ {
		mem := vfs.NewMem()
		if err := must(t, mem).Close(); err != nil {
			t.Fatal(err)
		}
		faults, calls := vfs.NewFault(mem), 0
		faults.Set(func(call vfs.Call) error {
			if call.Op.Changes() {
				calls++
			}
			if calls >= n {
				return errors.New("crashed")
			}
			return nil
		})
		d, err := opened(faults, "/b")
		whole := calls < n
		if err == nil {
			d.Close()
		}
		mem.Crash(nil)
		d, err = opened(mem, "/b")
		if err != nil {
			t.Fatalf("after a crash at call %d: %v", n, err)
		}
		if d.AnyLost() {
			t.Fatalf("after a crash at call %d: %+v", n, d.NotOK())
		}
		filled(t, d, 4)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if whole {
			t.Logf("%d calls", n-1)
			return
		}
	}
}

// Folders keep their numbers, and none is given twice.
func TestNumbersAreNotGivenAgain(t *testing.T) {
	fsys := vfs.NewMem()
	if err := must(t, fsys, "/b").Close(); err != nil {
		t.Fatal(err)
	}
	if err := must(t, fsys, "/c").Close(); err != nil {
		t.Fatal(err)
	}
	d := must(t, fsys, "/c", "/b")
	var got []string
	for _, k := range d.disks() {
		got = append(got, k.id+" "+filepath.Base(k.dir))
	}
	if want := []string{"d0 a", "d2 c", "d1 b"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
