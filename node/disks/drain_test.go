package disks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/diskshare"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// drainerOf is a drainer of disks, for tests that move replicas one by one. What it says of them is refused.
func drainerOf(t *testing.T, d *Disks, view func() *state.View) *Drainer {
	c := clock.Of(mux.Clock{})
	return NewDrainer(DrainOptions{
		Disks: d, View: view, Clock: c, Logger: slog.New(slog.DiscardHandler), Share: diskshare.New(c),
		Pace:     func(ctx context.Context, _ int) error { return ctx.Err() },
		Memory:   func(context.Context) (func(), error) { return func() {}, nil },
		AskSeal:  func(id state.ExtentID) { t.Errorf("the seal of extent %d is asked for", id) },
		Damaged:  func(id state.ExtentID, why string) { t.Errorf("extent %d is called damaged: %s", id, why) },
		Unread:   func(e *state.Extent, err error) { t.Errorf("extent %d is called unread: %v", e.ID, err) },
		Verified: func(state.ExtentID) {},
	})
}

// sealedCell is a log in which n1 has whole replicas of sealed extents 1 to n, and the disks have them as well.
func sealedCell(t *testing.T, d *Disks, n extent.ID) *statetest.Cell {
	t.Helper()
	cell := statetest.New()
	cell.RunAll("join n1")
	for id := extent.ID(1); id <= n; id++ {
		cell.RunAll("create on=n1\nstart create\nfinish create done")
		e := cell.State.Extent(state.ExtentID(id))
		p := text(id)
		if err := errors.Join(d.Create(id, 1, extent.Birth(e.Birth())), d.Append(id, 1, 0, p), d.RaiseFence(id, 5),
			d.Seal(id, uint64(len(p)))); err != nil {
			t.Fatal(err)
		}
		cell.RunAll(fmt.Sprintf("seal %d\nstart seal\nfinish seal done length=%d sum=%d confirmed=n1", id, len(p),
			crc32.Checksum(p, castagnoli)))
		if e := cell.State.Extent(state.ExtentID(id)); e.State != state.ExtentSealed || e.Whole() != 1 {
			t.Fatalf("extent %d: %+v", id, e)
		}
	}
	return cell
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// drain has a disk drained, and looks once at it.
func drain(t *testing.T, m *Drainer, id string) wire.Disk {
	t.Helper()
	if _, err := m.disks.Change(id, wire.DiskDrain); err != nil {
		t.Fatal(err)
	}
	k := m.disks.byID(id)
	m.look(t.Context(), k)
	return m.disks.describe(k)
}

// wholeOn makes sure that exactly one disk has each extent, with its bytes, and that it is one of those named.
func wholeOn(t *testing.T, d *Disks, n extent.ID, disks ...string) {
	t.Helper()
	for id := extent.ID(1); id <= n; id++ {
		var held []string
		for _, k := range d.disks() {
			if k.works() && k.store.Trace(id) == extent.TraceHeld {
				held = append(held, k.id)
			}
		}
		if len(held) != 1 || !slices.Contains(disks, held[0]) {
			t.Errorf("extent %d is on %v, want one of %v", id, held, disks)
		}
		p := make([]byte, len(text(id)))
		if _, err := d.ReadAt(id, p, 0); err != nil || string(p) != string(text(id)) {
			t.Errorf("extent %d: %q, %v", id, p, err)
		}
	}
}

// A drain moves all replicas and fences to the disks that stay, and is remembered until it is ended.
func TestDrainEmptiesDisk(t *testing.T) {
	const n = 20
	fsys := vfs.NewMem()
	d := must(t, fsys, "/b", "/c")
	cell := sealedCell(t, d, n)
	var bare []extent.ID // that only d1 knows
	for id := extent.ID(1000); len(bare) < 3; id++ {
		if err := d.RaiseFence(id, 9); err != nil {
			t.Fatal(err)
		}
		if d.byID("d1").store.Fence(id) == 9 {
			bare = append(bare, id)
		}
	}
	m := drainerOf(t, d, cell.State.Snapshot)
	if now := drain(t, m, "d1"); now.State != wire.DiskDrained || now.Extents != 0 || now.Blocked != "" || now.Moved == 0 {
		t.Errorf("%+v", now)
	}
	wholeOn(t, d, n, "d0", "d2")
	for _, id := range bare {
		if have := d.highestBut(id, d.byID("d1")); have != 9 {
			t.Errorf("the disks that stay know fence %d of extent %d", have, id)
		}
	}
	for id := extent.ID(1); id <= n; id++ {
		if have := d.highestBut(id, d.byID("d1")); have != 5 {
			t.Errorf("the disks that stay know fence %d of extent %d", have, id)
		}
	}
	for id := extent.ID(2000); id < 2050; id++ { // nothing new goes there
		if err := d.Create(id, 1, 7); err != nil || on(t, d, id).id == "d1" {
			t.Fatalf("extent %d: %v", id, err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = must(t, fsys, "/b", "/c")
	if now := d.describe(d.byID("d1")); now.State != wire.DiskDraining {
		t.Errorf("after a start the disk is %s", now.State)
	}
	if now, err := d.Change("d1", wire.DiskKeep); err != nil || now.State != wire.DiskOK {
		t.Errorf("%+v, %v", now, err)
	}
	wholeOn(t, d, n, "d0", "d2")
}

// Whatever call of a drain is the last one: after the crash the node has each extent once, whole, and the next drain
// ends what was begun.
func TestCrashAtMove(t *testing.T) {
	const n = 3
	for calls := 1; ; calls++ {
		mem := vfs.NewMem()
		faults := vfs.NewFault(mem)
		d := must(t, faults, "/b")
		for _, k := range d.disks()[:1] { // all go to d1
			k.draining.Store(true)
		}
		cell := sealedCell(t, d, n)
		d.first.draining.Store(false)
		m := drainerOf(t, d, cell.State.Snapshot)
		made := 0
		faults.Set(func(call vfs.Call) error {
			if call.Op.Changes() {
				made++
			}
			if made >= calls {
				return errors.New("crashed")
			}
			return nil
		})
		m.o.Unread = func(*state.Extent, error) {} // reads fail as well
		if _, err := d.Change("d1", wire.DiskDrain); err == nil {
			m.look(t.Context(), d.byID("d1"))
		}
		whole := made < calls
		d.Close()
		faults.Set(nil)
		mem.Crash(nil)
		d = must(t, mem, "/b")
		wholeOn(t, d, n, "d0", "d1")
		for id := extent.ID(1); id <= n; id++ {
			if have := d.highest(id); have != 5 {
				t.Errorf("the fence of extent %d is %d", id, have)
			}
		}
		m = drainerOf(t, d, cell.State.Snapshot)
		if now := drain(t, m, "d1"); now.State != wire.DiskDrained {
			t.Errorf("%+v", now)
		}
		wholeOn(t, d, n, "d0")
		if t.Failed() {
			t.Fatalf("after a crash at call %d", calls)
		}
		if whole {
			t.Logf("%d calls", calls-1)
			return
		}
	}
}

// A delete, a repair or the end of the drain that comes while a replica is copied wins.
func TestMoveLoses(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T, d *Disks, cell *statetest.Cell)
		want string // where the extent is then
	}{
		{"a delete", func(t *testing.T, d *Disks, _ *statetest.Cell) {
			if err := d.Drop(1); err != nil {
				t.Error(err)
			}
		}, ""},
		{"a replica put aside", func(t *testing.T, d *Disks, _ *statetest.Cell) {
			if err := d.Quarantine(1, "a test"); err != nil {
				t.Error(err)
			}
		}, ""},
		{"a repair", func(t *testing.T, d *Disks, cell *statetest.Cell) {
			cell.RunAll("suspect 1 n1 always")
			stage, err := d.Stage(1, 8, extent.Birth(cell.State.Extent(1).Birth()))
			if err != nil {
				t.Error(err)
				return
			}
			p := text(1)
			if err := stage.Append(p[stage.Len():]); err != nil {
				t.Error(err)
			}
			if err := stage.Commit(uint64(len(p)), crc32.Checksum(p, castagnoli)); err != nil {
				t.Error(err)
			}
		}, "d0"},
		{"its end", func(t *testing.T, d *Disks, _ *statetest.Cell) {
			if _, err := d.Change("d1", wire.DiskKeep); err != nil {
				t.Error(err)
			}
		}, "d1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := must(t, vfs.NewMem(), "/b")
			d.first.draining.Store(true)
			cell := sealedCell(t, d, 1)
			d.first.draining.Store(false)
			m := drainerOf(t, d, cell.State.Snapshot)
			m.o.Unread = func(*state.Extent, error) {}
			m.o.Pace = func(context.Context, int) error { c.do(t, d, cell); return nil }
			now := drain(t, m, "d1")
			where := ""
			if k, trace := d.best(1); trace == extent.TraceHeld {
				where = k.id
			}
			if where != c.want {
				t.Errorf("the extent is on %q, want %q: %+v", where, c.want, now)
			}
			if staged := d.Staged(); len(staged) > 0 {
				t.Errorf("staged: %v", staged)
			}
		})
	}
}

// Reads find an extent while it is moved, and what is damaged or has no room stays and says so.
func TestDrainSaysWhatStays(t *testing.T) {
	d := must(t, vfs.NewMem(), "/b")
	d.first.draining.Store(true)
	cell := sealedCell(t, d, 3)
	cell.RunAll("suspect 2 n1 always\ncreate on=n1\nstart create\nfinish create done")
	e := cell.State.Extent(4)
	if err := d.Create(4, 1, extent.Birth(e.Birth())); err != nil {
		t.Fatal(err)
	}
	d.first.draining.Store(false)
	m := drainerOf(t, d, cell.State.Snapshot)
	var sealed []state.ExtentID
	m.o.AskSeal = func(id state.ExtentID) { sealed = append(sealed, id) }
	now := drain(t, m, "d1")
	if now.State != wire.DiskDraining || now.Extents != 2 || !strings.Contains(now.Blocked, "extent 2 is damaged") {
		t.Errorf("%+v", now)
	}
	m.look(t.Context(), d.byID("d1"))
	if !slices.Equal(sealed, []state.ExtentID{4}) {
		t.Errorf("seals were asked for of %v", sealed)
	}
	for _, bad := range []struct{ disk, change, want string }{
		{"d0", wire.DiskDrain, "operation log"}, {"d7", wire.DiskDrain, "no disk d7"}, {"d1", "polish", "cannot"},
	} {
		if _, err := d.Change(bad.disk, bad.change); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s %s: %v", bad.change, bad.disk, err)
		}
	}
}

// Reads find an extent on the one disk or the other while it is moved, and never nothing.
func TestReadsWhileMoved(t *testing.T) {
	const n = 40
	d := must(t, vfs.NewMem(), "/b")
	d.first.draining.Store(true)
	cell := sealedCell(t, d, n)
	d.first.draining.Store(false)
	m := drainerOf(t, d, cell.State.Snapshot)
	var wg sync.WaitGroup
	var ended atomic.Bool
	for range 4 {
		wg.Go(func() {
			for id := extent.ID(1); !ended.Load(); id = id%n + 1 {
				p := make([]byte, len(text(id)))
				if _, err := d.ReadAt(id, p, 0); err != nil || string(p) != string(text(id)) {
					t.Errorf("extent %d: %q, %v", id, p, err)
				}
				if info, err := d.Stat(id); err != nil || info.Length != uint64(len(p)) {
					t.Errorf("extent %d: %+v, %v", id, info, err)
				}
				if _, err := d.Scrub(id, 0, uint64(len(p)), func(int) error { return nil }); err != nil {
					t.Errorf("scrub of extent %d: %v", id, err)
				}
			}
		})
	}
	now := drain(t, m, "d1")
	ended.Store(true)
	wg.Wait()
	if now.State != wire.DiskDrained {
		t.Errorf("%+v", now)
	}
	wholeOn(t, d, n, "d0")
}

// What was punched is read as deleted from the moment on that its copy counts, and the copy is punched as well.
func TestPunchedIsMoved(t *testing.T) {
	fsys := vfs.NewMem()
	d := must(t, fsys, "/b")
	d.first.draining.Store(true)
	cell := statetest.New()
	cell.RunAll("join n1\ncreate on=n1\nstart create\nfinish create done")
	birth := extent.Birth(cell.State.Extent(1).Birth())
	p := bytes.Repeat([]byte("0123456789abcdef"), 1<<14) // 256 KiB
	if err := d.Create(1, 1, birth); err != nil {
		t.Fatal(err)
	}
	for off := 0; off < len(p); off += 64 << 10 {
		if err := d.Append(1, 1, uint64(off), p[off:off+64<<10]); err != nil {
			t.Fatal(err)
		}
	}
	sum, err := d.SealSum(1, uint64(len(p)))
	if err != nil {
		t.Fatal(err)
	}
	cell.RunAll(fmt.Sprintf("seal 1\nstart seal\nfinish seal done length=%d sum=%d confirmed=n1", len(p), sum))
	gone := extent.Range{From: 64 << 10, To: 192 << 10}
	if more, err := d.Punch(1, birth, []extent.Range{gone}); more || err != nil {
		t.Fatal(more, err)
	}
	d.first.draining.Store(false)
	m := drainerOf(t, d, cell.State.Snapshot)
	if now := drain(t, m, "d1"); now.State != wire.DiskDrained {
		t.Fatalf("%+v", now)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = must(t, fsys, "/b")
	if punched, err := d.first.store.Punched(1); err != nil || !slices.Equal(punched, []extent.Range{gone}) {
		t.Errorf("punched: %v, %v", punched, err)
	}
	if info, err := d.Stat(1); err != nil || info.PhysicalBytes < int64(len(p)) {
		t.Errorf("%+v, %v", info, err)
	}
	for _, c := range []struct {
		off  uint64
		code extent.Code
	}{{0, 0}, {64 << 10, extent.CodePunched}, {100 << 10, extent.CodePunched}, {192 << 10, 0}} {
		got := make([]byte, 4096)
		_, _, err := d.ReadSum(1, got, c.off)
		if extent.CodeOf(err) != c.code || c.code == 0 && !bytes.Equal(got, p[c.off:c.off+4096]) {
			t.Errorf("at %d: %v, want code %v", c.off, err, c.code)
		}
	}
}

// Of two copies that a crash has left and nothing tells apart, the one on the disk that stays counts.
func TestDrainedCopyYields(t *testing.T) {
	fsys := vfs.NewMem()
	d := must(t, fsys, "/b", "/c")
	for _, id := range []string{"d1", "d2"} {
		stage, err := d.byID(id).store.Stage(1, 5, 7)
		if err != nil {
			t.Fatal(err)
		}
		p := text(1)
		if err := errors.Join(stage.Append(p), stage.Commit(uint64(len(p)), crc32.Checksum(p, castagnoli))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Change("d1", wire.DiskDrain); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = must(t, fsys, "/b", "/c")
	wholeOn(t, d, 1, "d2")
}

// A disk that is drained or missing is taken out for good, and is refused by name when it comes back; one on which
// something counts is not.
func TestReplace(t *testing.T) {
	const n = 10
	fsys := vfs.NewMem()
	d := must(t, fsys, "/b", "/c")
	cell := sealedCell(t, d, n)
	refused := func(d *Disks, disk, want string) {
		t.Helper()
		if _, err := d.Change(disk, wire.DiskReplace); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is taken out: %v, want %q", disk, err, want)
		}
	}
	gone := func(d *Disks, disk string) {
		t.Helper()
		if now, err := d.Change(disk, wire.DiskReplace); err != nil || now.State != wire.DiskGone || d.byID(disk) != nil {
			t.Errorf("%s is taken out: %+v, %v", disk, now, err)
		}
	}
	refused(d, "d0", "operation log")
	refused(d, "d1", "not drained")
	m := drainerOf(t, d, cell.State.Snapshot)
	drain(t, m, "d1")
	gone(d, "d1")
	refused(d, "d1", "no disk d1")
	wholeOn(t, d, n, "d0", "d2")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := opened(fsys, "/b", "/c"); err == nil || !strings.Contains(err.Error(), "was taken out of n1") {
		t.Fatalf("the old disk is taken again: %v", err)
	}
	d = must(t, fsys) // without /c
	lost := extent.ID(0)
	for id := extent.ID(1); id <= n; id++ {
		if d.Lost(id) {
			lost = id
		}
	}
	if lost == 0 || !d.AnyLost() {
		t.Fatal("nothing is lost with /c")
	}
	d.o.Counted = func() []state.ExtentID { return []state.ExtentID{state.ExtentID(lost)} }
	refused(d, "d2", "not repaired elsewhere yet")
	d.o.Counted = nil
	gone(d, "d2")
	if d.AnyLost() || d.NotOK() != nil || d.Lost(lost) {
		t.Errorf("a disk that was taken out is still missed: %+v", d.NotOK())
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = must(t, fsys, "/e")
	if now := d.describe(d.disks()[1]); now.Disk != "d3" || now.State != wire.DiskOK {
		t.Errorf("the new disk: %+v", now)
	}
}
