package vfs

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

// testPunch makes zeros of parts of a file, within blocks and across them, and beyond its end.
func testPunch(t *testing.T, fsys FS, name string) {
	f, err := fsys.Create(name)
	must(t, err)
	defer f.Close()
	want := bytes.Repeat([]byte{7}, 40_000)
	write(t, f, string(want), 0)
	must(t, f.Sync())
	for _, part := range [][2]int64{{0, 1}, {100, 20_000}, {39_999, 10_000}, {40_000, 4096}, {25_000, 10}} {
		err := f.Punch(part[0], part[1])
		if errors.Is(err, errors.ErrUnsupported) {
			t.Log("the file system gives nothing back")
			break
		}
		must(t, err)
		clear(want[min(part[0], 40_000):min(part[0]+part[1], 40_000)])
	}
	if got := contents(t, fsys, name); got != string(want) {
		t.Error("other bytes than zeros where it was punched, or zeros elsewhere")
	}
}

// A punch is lost in a crash like a write, and is there after a sync.
func TestCrashAndPunch(t *testing.T) {
	lost, torn := 0, 0
	for seed := range uint64(50) {
		m := NewMem()
		f, err := m.Create("/f")
		must(t, err)
		must(t, m.SyncDir("/"))
		write(t, f, string(bytes.Repeat([]byte{7}, 3*pageBytes)), 0)
		must(t, f.Sync())
		must(t, f.Punch(10, 3*pageBytes))
		m.Crash(rand.New(rand.NewPCG(seed, 1)))
		switch zeros := bytes.Count([]byte(contents(t, m, "/f")), []byte{0}); zeros {
		case 0:
			lost++
		case 3*pageBytes - 10:
		default:
			torn++
		}
		f, err = m.OpenRW("/f")
		must(t, err)
		must(t, f.Punch(0, 3*pageBytes))
		must(t, f.Sync())
		m.Crash(rand.New(rand.NewPCG(seed, 2)))
		if zeros := bytes.Count([]byte(contents(t, m, "/f")), []byte{0}); zeros != 3*pageBytes {
			t.Fatalf("%d zeros after a sync", zeros)
		}
	}
	if lost == 0 || torn == 0 {
		t.Errorf("of 50 crashes %d lost the punch, %d a part of it", lost, torn)
	}
}
