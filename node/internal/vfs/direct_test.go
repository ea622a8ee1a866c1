package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"syscall"
	"testing"
)

// What is written past the cache is read through it, and only whole blocks are taken.
func testDirect(t *testing.T, fsys FS, dir string) {
	must(t, fsys.MkdirAll(dir))
	name := path.Join(dir, "f")
	f, err := fsys.Create(name)
	must(t, err)
	defer f.Close()
	write(t, f, "head", 0)
	d, align, err := fsys.OpenDirect(name)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Log("this file system does not say that it can be written past the cache")
		return
	}
	must(t, err)
	defer d.Close()
	block := alignedBytes(2*align, align)
	for i := range block {
		block[i] = byte(i%251) + 1
	}
	for _, bad := range []struct {
		p   []byte
		off int64
	}{{block[:align], 1}, {block[:align-1], 0}} {
		if _, err := d.WriteAt(bad.p, bad.off); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%d bytes at %d are answered %v", len(bad.p), bad.off, err)
		}
	}
	if got := contents(t, fsys, name); got != "head" {
		t.Fatalf("what was refused is there: %.40q", got)
	}
	if _, err := d.WriteAt(block, 0); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, fsys, name); got != string(block) {
		t.Fatal("what was written past the cache is not what is read through it")
	}
	if _, _, err := fsys.OpenDirect(name + "x"); err == nil {
		t.Fatal("a file that is not there was opened")
	}
}

// A tail that is put together from parts of any length is the file, at every sync and between them.
func TestTail(t *testing.T) {
	for name, fsys := range map[string]FS{"os": OS{}, "mem": NewMem(), "without direct": noDirect{NewMem()},
		"lies": lyingDirect{NewMem()}} {
		t.Run(name, func(t *testing.T) {
			dir := "/"
			if name == "os" {
				dir = t.TempDir()
			}
			for seed := range uint64(20) {
				testTail(t, fsys, path.Join(dir, fmt.Sprint("f", seed)), rand.New(rand.NewPCG(seed, 0)))
			}
		})
	}
}

// noDirect is a file system that does not say that it can be written past the cache.
type noDirect struct{ FS }

func (noDirect) OpenDirect(string) (File, int, error) { return nil, 0, errors.ErrUnsupported }

// lyingDirect says so, and then refuses.
type lyingDirect struct{ FS }

func (l lyingDirect) OpenDirect(name string) (File, int, error) {
	f, err := l.OpenRW(name)
	return refusing{f}, memAlign, err
}

type refusing struct{ File }

func (refusing) WriteAt([]byte, int64) (int, error) { return 0, syscall.EINVAL }

// grow puts n random bytes into a tail, and what was put to want.
func grow(t *testing.T, tail *Tail, r *rand.Rand, n int, want []byte) []byte {
	t.Helper()
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	for left := p; len(left) > 0; {
		room, err := tail.Room(min(len(left), 100<<10))
		must(t, err)
		k := min(len(left), cap(room))
		tail.Add(len(append(room, left[:k]...)))
		left = left[k:]
	}
	return append(want, p...)
}

func testTail(t *testing.T, fsys FS, name string, r *rand.Rand) {
	f, err := fsys.Create(name)
	must(t, err)
	defer f.Close()
	want := make([]byte, r.IntN(3*memAlign))
	_, err = f.WriteAt(want, 0)
	must(t, err)
	tail, err := NewTail(fsys, name, f, int64(len(want)))
	must(t, err)
	for range 12 {
		want = grow(t, tail, r, r.IntN([]int{3, 5000, 300 << 10}[r.IntN(3)]), want)
		if tail.End() != int64(len(want)) {
			t.Fatalf("the tail says that it ends at %d, want %d", tail.End(), len(want))
		}
		if r.IntN(3) == 0 {
			must(t, tail.Sync())
			if got := contents(t, fsys, name); got != string(want) {
				t.Fatalf("after %d bytes the file differs", len(want))
			}
		}
	}
	must(t, tail.Sync())
	must(t, tail.Close())
	if got := contents(t, fsys, name); got != string(want) {
		t.Fatalf("after %d bytes the file differs", len(want))
	}
}

// What a tail has synced is there after a crash, whatever was written over the same blocks since.
func TestTailCrash(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := NewMem()
		f := file(t, m, "/f", "synced", "")
		must(t, m.SyncDir("/"))
		tail, err := NewTail(m, "/f", f, 6)
		must(t, err)
		want, durable := []byte("synced"), 6
		for range 1 + r.IntN(8) {
			want = grow(t, tail, r, r.IntN(3*memAlign), want)
			switch r.IntN(3) {
			case 0:
				must(t, tail.Sync())
				durable = len(want)
			case 1:
				must(t, tail.Flush())
			}
		}
		m.Crash(r)
		if got := contents(t, m, "/f"); len(got) < durable || !bytes.Equal([]byte(got[:durable]), want[:durable]) {
			t.Fatalf("seed %d: of %d bytes that were synced %d are there or they differ", seed, durable, len(got))
		}
	}
}

// A tail says which write has failed, and a fault hits writes past the cache too.
func TestTailFault(t *testing.T) {
	m := NewMem()
	fault := NewFault(m)
	f, err := fault.Create("/f")
	must(t, err)
	tail, err := NewTail(fault, "/f", f, 0)
	must(t, err)
	defer tail.Close()
	grow(t, tail, rand.New(rand.NewPCG(1, 1)), memAlign+1, nil)
	full := syscall.ENOSPC
	fault.Set(FailNth(OpWrite, 1, full))
	if err := tail.Sync(); !errors.Is(err, full) {
		t.Fatalf("the write past the cache failed and the sync says %v", err)
	}
	fault.Set(FailNth(OpWrite, 2, full))
	if err := tail.Sync(); !errors.Is(err, full) {
		t.Fatalf("the write of the last block failed and the sync says %v", err)
	}
	fault.Set(FailNth(OpSync, 1, syscall.EIO))
	if err := tail.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("the sync failed and says %v", err)
	}
}

// How a MiB gets onto the disk: through the cache and past it, with a sync each and with one for 16.
func BenchmarkTail(b *testing.B) {
	for _, way := range []struct {
		name string
		fsys FS
	}{{"cache", noDirect{OS{}}}, {"direct", OS{}}} {
		for _, each := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/%dMiB", way.name, each), func(b *testing.B) {
				name := path.Join(b.TempDir(), "f")
				f, err := OS{}.Create(name)
				if err != nil {
					b.Fatal(err)
				}
				defer f.Close()
				tail, err := NewTail(way.fsys, name, f, 0)
				if err != nil {
					b.Fatal(err)
				}
				defer tail.Close()
				p := bytes.Repeat([]byte("0123456789abcdef"), 4<<10)
				b.SetBytes(int64(each) << 20)
				for b.Loop() {
					for range each * 16 {
						room, err := tail.Room(len(p))
						if err != nil {
							b.Fatal(err)
						}
						tail.Add(len(append(room, p...)))
					}
					if err := tail.Sync(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
