package vfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"syscall"
	"testing"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, f File, p string, off int64) {
	t.Helper()
	_, err := f.WriteAt([]byte(p), off)
	must(t, err)
}

func contents(t *testing.T, fsys FS, name string) string {
	t.Helper()
	f, err := fsys.OpenRead(name)
	must(t, err)
	defer f.Close()
	size, err := f.Size()
	must(t, err)
	buf := make([]byte, size+1)
	n, err := f.ReadAt(buf, 0)
	if err != io.EOF || int64(n) != size {
		t.Fatalf("%s: read %d of %d bytes: %v", name, n, size, err)
	}
	return string(buf[:n])
}

// What every implementation promises is the same test for each.
func TestPromises(t *testing.T) {
	for name, open := range map[string]func(*testing.T) (FS, string){
		"os":    func(t *testing.T) (FS, string) { return OS{}, t.TempDir() },
		"mem":   func(*testing.T) (FS, string) { return NewMem(), "/" },
		"fault": func(*testing.T) (FS, string) { return NewFault(NewMem()), "/" },
	} {
		t.Run(name, func(t *testing.T) {
			fsys, root := open(t)
			testNames(t, fsys, path.Join(root, "names"))
			testBytes(t, fsys, path.Join(root, "bytes"))
			testLock(t, fsys, path.Join(root, "lock"))
			testDirect(t, fsys, path.Join(root, "direct"))
			testPunch(t, fsys, path.Join(root, "punch"))
		})
	}
}

func testNames(t *testing.T, fsys FS, dir string) {
	a, b := path.Join(dir, "x/a"), path.Join(dir, "y/b")
	if _, err := fsys.Create(a); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("create without a folder: %v", err)
	}
	for _, d := range []string{"x", "y", "x"} {
		must(t, fsys.MkdirAll(path.Join(dir, d)))
	}
	f, err := fsys.Create(a)
	must(t, err)
	write(t, f, "one", 0)
	must(t, f.Close())
	if _, err := fsys.Create(a); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create twice: %v", err)
	}
	if err := fsys.MkdirAll(path.Join(a, "sub")); err == nil {
		t.Error("made a folder below a file")
	}
	f, err = fsys.Create(b)
	must(t, err)
	must(t, fsys.Rename(a, b))
	write(t, f, "the file that was replaced", 0) // a handle works on without its name
	must(t, f.Close())
	if got := contents(t, fsys, b); got != "one" {
		t.Errorf("after the rename %q, want %q", got, "one")
	}
	for _, err := range []error{
		fsys.Remove(a), fsys.Rename(a, b),
		second(fsys.OpenRW(a)), second(fsys.OpenRead(a)), second(fsys.Stat(a)),
	} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("of a name that is gone: %v", err)
		}
	}
	names, err := fsys.List(dir)
	must(t, err)
	if !slices.Equal(names, []string{"x", "y"}) {
		t.Errorf("list: %v", names)
	}
	info, err := fsys.Stat(path.Join(dir, "x"))
	if err != nil || !info.IsDir {
		t.Errorf("stat of a folder: %+v, %v", info, err)
	}
	must(t, fsys.SyncDir(dir))
	must(t, fsys.Remove(b))
	if names, err := fsys.List(path.Join(dir, "y")); err != nil || len(names) != 0 {
		t.Errorf("list of an empty folder: %v, %v", names, err)
	}
}

func second[T any](_ T, err error) error { return err }

func testBytes(t *testing.T, fsys FS, dir string) {
	must(t, fsys.MkdirAll(dir))
	name := path.Join(dir, "f")
	f, err := fsys.Create(name)
	must(t, err)
	write(t, f, "world", 6)
	write(t, f, "hello", 0)
	must(t, f.Sync())
	if got := contents(t, fsys, name); got != "hello\x00world" {
		t.Errorf("with a hole: %q", got)
	}
	must(t, f.Truncate(3))
	must(t, f.Truncate(5))
	if got := contents(t, fsys, name); got != "hel\x00\x00" {
		t.Errorf("cut and grown: %q", got)
	}
	if n, err := f.ReadAt(make([]byte, 4), 3); n != 2 || err != io.EOF {
		t.Errorf("read over the end: %d, %v", n, err)
	}
	must(t, f.Close())
	if err := f.Sync(); err == nil {
		t.Error("synced a closed file")
	}
	f, err = fsys.OpenRead(name)
	must(t, err)
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		t.Error("wrote to a file opened for reading")
	}
}

func testLock(t *testing.T, fsys FS, name string) {
	l, err := fsys.Lock(name)
	must(t, err)
	if _, err := fsys.Lock(name); !errors.Is(err, ErrLocked) {
		t.Errorf("locked twice: %v", err)
	}
	must(t, l.Close())
	l, err = fsys.Lock(name)
	must(t, err)
	must(t, l.Close())
}

func file(t *testing.T, m *Mem, name, synced, unsynced string) File {
	t.Helper()
	must(t, m.MkdirAll(path.Dir(name)))
	f, err := m.Create(name)
	must(t, err)
	write(t, f, synced, 0)
	must(t, f.Sync())
	write(t, f, unsynced, int64(len(synced)))
	return f
}

func TestCrashLosesTheUnsynced(t *testing.T) {
	m := NewMem()
	f := file(t, m, "/d/a", "synced", " and not")
	must(t, m.SyncDir("/d"))
	file(t, m, "/d/b", "bytes without a name", "")
	must(t, m.Rename("/d/a", "/d/c"))
	l, err := m.Lock("/d/LOCK")
	must(t, err)
	m.Crash(nil)
	if names, _ := m.List("/d"); !slices.Equal(names, []string{"a"}) {
		t.Errorf("names %v, want a alone", names)
	}
	if got := contents(t, m, "/d/a"); got != "synced" {
		t.Errorf("a holds %q", got)
	}
	for _, err := range []error{f.Sync(), f.Truncate(0), second(f.WriteAt([]byte("x"), 0)), second(f.Size())} {
		if !errors.Is(err, ErrCrashed) {
			t.Errorf("a handle from before: %v", err)
		}
	}
	second, err := m.Lock("/d/LOCK")
	must(t, err)
	must(t, l.Close()) // the dead one's
	if _, err := m.Lock("/d/LOCK"); !errors.Is(err, ErrLocked) {
		t.Errorf("a dead holder released the lock of a living one: %v", err)
	}
	must(t, second.Close())
}

// A rename is whole after a crash, and durable after a sync of either folder; what was synced of
// names before it never comes back.
func TestCrashAndRename(t *testing.T) {
	for seed := range uint64(50) {
		m := NewMem()
		must(t, m.MkdirAll("/e"))
		file(t, m, "/d/a", "x", "")
		must(t, m.Rename("/d/a", "/e/b"))
		if seed%2 == 0 {
			must(t, m.SyncDir("/e"))
		}
		m.Crash(rand.New(rand.NewPCG(seed, 0)))
		d, _ := m.List("/d")
		e, _ := m.List("/e")
		if len(d)+len(e) > 1 || seed%2 == 0 && len(e) != 1 {
			t.Fatalf("seed %d: /d holds %v, /e %v", seed, d, e)
		}
	}
}

// With a seed, each of the things that can happen to unsynced pages happens, synced bytes stay, and
// the same seed does the same.
func TestCrashTears(t *testing.T) {
	synced := bytes.Repeat([]byte{1}, 6000)
	unsynced := bytes.Repeat([]byte{2}, 5*pageBytes)
	run := func(seed uint64) []byte {
		m := NewMem()
		file(t, m, "/f", string(synced), string(unsynced))
		must(t, m.SyncDir("/"))
		m.Crash(rand.New(rand.NewPCG(seed, 0)))
		return []byte(contents(t, m, "/f"))
	}
	lost, holes := false, false
	for seed := range uint64(100) {
		got := run(seed)
		if !bytes.HasPrefix(got, synced) {
			t.Fatalf("seed %d: synced bytes changed", seed)
		}
		if !bytes.Equal(got, run(seed)) {
			t.Fatalf("seed %d: two crashes differ", seed)
		}
		tail := got[len(synced):]
		lost = lost || len(tail) == 0
		holes = holes || bytes.Contains(tail, []byte{0, 2})
	}
	if !lost || !holes {
		t.Errorf("in 100 crashes: all lost %v, kept in front of lost %v", lost, holes)
	}
}

func TestKillKeepsTheUnsynced(t *testing.T) {
	m := NewMem()
	f := file(t, m, "/a", "synced", " and not")
	m.Kill()
	if got := contents(t, m, "/a"); got != "synced and not" {
		t.Errorf("after a kill %q", got)
	}
	if err := f.Sync(); !errors.Is(err, ErrCrashed) {
		t.Errorf("a dead process synced: %v", err)
	}
	m.Crash(nil)
	if names, _ := m.List("/"); len(names) != 0 {
		t.Errorf("after the crash %v", names)
	}
}

func TestFault(t *testing.T) {
	m := NewMem()
	f := NewFault(m)
	file, err := f.Create("/a")
	must(t, err)
	f.Set(FailNth(OpWrite, 2, &Partial{Bytes: 2, Err: syscall.ENOSPC}))
	write(t, file, "1234", 0)
	if n, err := file.WriteAt([]byte("5678"), 4); n != 2 || !IsNoSpace(err) {
		t.Errorf("wrote %d, %v; want 2 and no space", n, err)
	}
	write(t, file, "7", 6)
	if got := contents(t, m, "/a"); got != "1234567" {
		t.Errorf("the file holds %q", got)
	}
	f.Set(FailFrom(2, syscall.EIO))
	must(t, file.Sync())
	for _, err := range []error{
		file.Sync(), file.Truncate(0),
		f.Remove("/a"), f.Rename("/a", "/b"), f.SyncDir("/"), f.MkdirAll("/c"), second(f.Create("/d")),
	} {
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("after the process died: %v", err)
		}
	}
	f.Set(nil)
	must(t, file.Sync())
}
