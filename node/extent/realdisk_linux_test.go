package extent

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/datanode/datanode/node/internal/vfs"
)

// disk is a real disk, which is a file on a loop device.
type disk struct {
	kind  string // of its file system
	mount string
	least int64 // about the smallest that its mkfs makes
	flags []string
}

// realDisks are the file systems that nodes run on.
func realDisks() []disk {
	return []disk{
		{kind: "ext4", least: 80 << 20, flags: []string{"-m", "0"}}, // root would have more than statfs says is free
		{kind: "xfs", least: 320 << 20}, {kind: "btrfs", least: 128 << 20},
	}
}

// mountDisk makes a disk and mounts it. Only root can, with the programs that make file systems; without these the test
// is skipped, but not where CI is set, as a test that no machine runs proves nothing.
func (d *disk) mountDisk(t *testing.T) {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("CI") != "" {
		missing = t.Fatalf
	}
	if os.Getuid() != 0 {
		missing("only root mounts disks")
	}
	base := t.TempDir()
	image := filepath.Join(base, "image")
	d.mount = filepath.Join(base, "disk")
	must(t, os.WriteFile(image, nil, 0o600))
	must(t, os.Truncate(image, d.least))
	must(t, os.Mkdir(d.mount, 0o700))
	for _, args := range [][]string{
		append(append([]string{"mkfs." + d.kind, "-q"}, d.flags...), image), {"mount", "-o", "loop", image, d.mount},
	} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			if bytes.Contains(out, []byte("unknown filesystem type")) {
				t.Skipf("this machine's kernel has no %s", d.kind)
			}
			missing("%s: %v (apt install e2fsprogs xfsprogs btrfs-progs): %s", args[0], err, out)
		}
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(d.mount, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", d.mount, err)
		}
	})
}

// taken is how many bytes of the disk a file has, and how long it is.
func taken(t *testing.T, name string) (disk, size int64) {
	t.Helper()
	info, err := os.Stat(name)
	must(t, err)
	return info.Sys().(*syscall.Stat_t).Blocks * 512, info.Size()
}

// free is how many bytes of the disk are free, once all that was removed is.
func (d *disk) free(t *testing.T) int64 {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "sync", "-f", d.mount).CombinedOutput(); err != nil {
		t.Fatalf("sync: %v: %s", err, out)
	}
	space, err := vfs.OS{}.Space(d.mount)
	must(t, err)
	return int64(space.FreeBytes)
}

// What a store does holds on each file system that nodes run on: small appends, a start in between, a large put past
// the cache, a copy, seals, a full disk and drops. A sealed file has little more of the disk than its bytes.
func TestRealDisks(t *testing.T) {
	for _, d := range realDisks() {
		t.Run(d.kind, func(t *testing.T) {
			d.mountDisk(t)
			r := realStore{T: t, disk: &d}
			r.open()
			r.kinds()
			r.small()
			r.stream()
			r.copy()
			r.full()
			must(t, r.Close())
		})
	}
}

// realStore is a store on a real disk.
type realStore struct {
	*testing.T
	*Store
	disk *disk
}

func (r *realStore) open() {
	r.Helper()
	s, report, err := Open(vfs.OS{}, filepath.Join(r.disk.mount, "store"), Options{})
	must(r.T, err)
	if len(report.Damaged) > 0 {
		r.Fatalf("after a start: %s", report)
	}
	r.Store = s
}

func (r *realStore) reopen() {
	r.Helper()
	must(r.T, r.Close())
	r.open()
}

// kinds checks what the file system says of itself.
func (r *realStore) kinds() {
	space, err := vfs.OS{}.Space(r.disk.mount)
	must(r.T, err)
	if space.Kind != r.disk.kind {
		r.Errorf("a disk with %s is said to have %q", r.disk.kind, space.Kind)
	}
	must(r.T, r.Create(100, 1, 0))
	f, align, err := vfs.OS{}.OpenDirect(r.dir.extent(100))
	if r.disk.kind == "btrfs" {
		if !errors.Is(err, errors.ErrUnsupported) {
			r.Errorf("btrfs reports an alignment of %d: %v", align, err)
		}
	} else if err != nil || align < 512 || align > 64<<10 {
		r.Errorf("an alignment of %d: %v", align, err)
	}
	if err == nil {
		must(r.T, f.Close())
	}
	must(r.T, r.Drop(100))
}

// sealed seals an extent, before and after a start, and looks at what its file has of the disk meanwhile.
func (r *realStore) sealed(id ID, want []byte) {
	r.Helper()
	_, err := r.SealSum(id, uint64(len(want)))
	must(r.T, err)
	// What is behind the end is a block of the file system, and on btrfs the extent that an append has shortened.
	disk, size := taken(r.T, r.dir.extent(id))
	if spare := disk - size; spare > 64<<10 {
		r.Errorf("the file of extent %d has %d bytes of the disk beside its %d", id, spare, size)
	}
	wantBytes(r.T, r.Store, id, want)
	r.reopen()
	must(r.T, r.Seal(id, uint64(len(want))))
	wantBytes(r.T, r.Store, id, want)
}

// small appends as small puts do, with a start in between: what xfs sets aside behind the end grows with the file.
func (r *realStore) small() {
	p := pattern(1, 9<<20+77)
	must(r.T, r.Create(1, 1, 0))
	for at := 0; at < len(p); {
		n := min(100_000, len(p)-at)
		must(r.T, r.Append(1, 1, uint64(at), p[at:at+n]))
		if at += n; at == 5_000_000 {
			r.reopen()
		}
	}
	r.sealed(1, p)
}

// stream writes a large put, whose pieces end anywhere, and appends behind it.
func (r *realStore) stream() {
	p := pattern(2, 20<<20+5)
	must(r.T, r.Create(2, 1, 0))
	w, err := r.Stream(2, 1, 0)
	must(r.T, err)
	if direct := w.tail.Direct(); direct != (r.disk.kind != "btrfs") {
		r.Errorf("a stream goes past the cache: %t", direct)
	}
	put := p[:len(p)-1000]
	for at := 0; at < len(put); {
		n := min(700_001, len(put)-at)
		must(r.T, w.Append(put[at:at+n]))
		at += n
	}
	must(r.T, w.Sync())
	must(r.T, w.Close())
	wantBytes(r.T, r.Store, 2, put) // through the cache, right after it was written past it
	must(r.T, r.Append(2, 1, uint64(len(put)), p[len(put):]))
	r.sealed(2, p)
}

// copy stages a replica with a start in the middle.
func (r *realStore) copy() {
	p := pattern(3, 6<<20+9)
	st, err := r.Stage(3, 1, 0)
	must(r.T, err)
	must(r.T, st.Append(p[:4<<20+3]))
	must(r.T, st.Sync())
	r.reopen()
	st, err = r.Stage(3, 2, 0)
	must(r.T, err)
	if st.Len() != 4<<20+3 {
		r.Errorf("%d bytes of the copy are left after a start", st.Len())
	}
	must(r.T, st.Append(p[st.Len():]))
	must(r.T, st.Commit(uint64(len(p)), sumBytes(p)))
	r.sealed(3, p)
}

// full streams more than the disk has, which ends with no space and leaves what was synced; a drop gives it back.
func (r *realStore) full() {
	before := r.disk.free(r.T)
	p := pattern(4, 1<<20)
	must(r.T, r.Create(4, 1, 0))
	w, err := r.Stream(4, 1, 0)
	must(r.T, err)
	for at := int64(0); err == nil; at += int64(len(p)) {
		if at > before+16<<20 { // what was set aside behind other files may be had, too
			r.Fatalf("%d bytes were taken where %d were free", at, before)
		}
		err = w.Append(p)
	}
	wantCode(r.T, err, CodeNoSpace)
	info, err := r.Stat(4)
	must(r.T, err)
	got := make([]byte, len(p))
	for at := uint64(0); at < info.Length; at += uint64(len(p)) {
		if n, err := r.ReadAt(4, got, at); err != nil || string(got[:n]) != string(p[:n]) {
			r.Fatalf("%d bytes that were synced are not there: %v", at, err)
		}
	}
	must(r.T, r.Drop(4))
	if after := r.disk.free(r.T); after < before-1<<20 {
		r.Errorf("%d bytes are free after the drop, %d were before", after, before)
	}
	must(r.T, r.Create(5, 1, 0))
	must(r.T, r.Append(5, 1, 0, p))
	wantBytes(r.T, r.Store, 5, p)
}
