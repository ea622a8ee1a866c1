package node

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/datanode/datanode/node/diskspace"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// What an operator, or a disk, can do to a folder ends in one of three ways: the node is healed by the others, it
// refuses in a line that names what is wrong, or it serves right. It never serves wrong, and never spreads it.

// mistakesEnv is how many mistakes of each kind a test makes, spread evenly over all that there are; "all" for every
// one. mistakesEach is the number without it.
const (
	mistakesEnv  = "DATANODE_MISTAKES"
	mistakesEach = 24
)

// victim is a node of a small cell that something is done to, again and again.
type victim struct {
	*cell
	id   string
	kept map[wire.Locator][]byte // what was acknowledged, and must stay
	gone wire.Locator            // what was deleted, and must not come back
	rand *rand.Rand
}

// newVictim makes a cell with a bit of everything on its disks: sealed, open and deleted extents, a snapshot, entries
// behind it.
func newVictim(t *testing.T) *victim {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	v := &victim{cell: newCell(t, 3, 0), kept: map[wire.Locator][]byte{}, rand: rand.New(rand.NewPCG(seed, 0))}
	keep := func(loc wire.Locator, p []byte) { v.kept[loc] = p }
	for i := range 3 {
		p := pattern(uint64(i), 3000+i)
		keep(v.sealed(p), p)
	}
	v.gone = v.sealed(pattern(9, 2000))
	v.run(wire.Submission{Kind: "delete", Extent: v.gone.Extent})
	for _, n := range v.nodes {
		if err := n.log.Snapshot(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 4 {
		p := pattern(uint64(20+i), 500+i)
		keep(v.put(p), p)
	}
	v.whole()
	leader := v.leader()
	for id := range v.nodes {
		if id != leader {
			v.id = max(v.id, id)
		}
	}
	return v
}

func (v *victim) dir() string { return v.configs[v.id].Dir }

// files are the files of the victim's folder that have anything in them, by name.
func (v *victim) files() []string {
	v.t.Helper()
	var names []string
	err := filepath.WalkDir(v.dir(), func(path string, d fs.DirEntry, err error) error {
		// The reserve is as large as the disk has it, and never read.
		if err != nil || !d.Type().IsRegular() || d.Name() == diskspace.ReserveFile {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > 0 {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		v.t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// verdict is how a start after a mistake has ended.
type verdict string

const (
	servesRight verdict = "serves right"
	refuses     verdict = "refuses by name"
)

// try starts the victim, and judges what comes of it. The victim is stopped again when it returns.
func (v *victim) try(mistake string) verdict {
	v.t.Helper()
	n, err := Start(v.t.Context(), v.configs[v.id])
	if err != nil {
		v.line(mistake, err)
		v.sound(mistake)
		return refuses
	}
	defer delete(v.nodes, v.id)
	defer n.Close()
	select {
	case <-n.Ready():
	case <-n.Done():
		v.line(mistake, cmp.Or(n.Err(), errors.New("")))
		v.sound(mistake)
		return refuses
	case <-testContext(v.t).Done():
		v.t.Fatalf("%s: the node is neither ready nor refused in time", mistake)
	}
	v.nodes[v.id] = n
	v.sound(mistake)
	return servesRight
}

// line fails unless a refusal is one line that names the folder, or a file in it, or the node.
func (v *victim) line(mistake string, err error) {
	v.t.Helper()
	text := err.Error()
	if text == "" || strings.Contains(text, "\n") || !strings.Contains(text, v.dir()) && !strings.Contains(text, v.id) {
		v.t.Errorf("%s: refused with %q, want one line that names the node or what is wrong in its folder", mistake, text)
	}
}

// sound fails unless each node that runs serves exactly what was acknowledged, all have the same history, and
// what was deleted stays so.
func (v *victim) sound(mistake string) {
	v.t.Helper()
	for id, n := range v.nodes {
		for loc, want := range v.kept {
			var got bytes.Buffer
			if err := v.readVia(id, loc, &got); err != nil || !bytes.Equal(got.Bytes(), want) {
				v.t.Fatalf("%s: %s read by way of %s: %d bytes of %d, right %t, %v\n%s", mistake, loc, id, got.Len(), len(want),
					bytes.Equal(got.Bytes(), want), err, v.describe())
			}
		}
		if err := v.readVia(id, v.gone, new(bytes.Buffer)); wire.CodeOf(err) != wire.CodeNotFound {
			v.t.Fatalf("%s: the deleted %s read by way of %s: %v", mistake, v.gone, id, err)
		}
		if err := n.log.Err(); err != nil {
			v.t.Fatalf("%s: %s: %v", mistake, id, err)
		}
	}
	v.sameHistory(mistake)
}

// sameHistory fails unless all nodes come to the same chain at the same index.
func (v *victim) sameHistory(mistake string) {
	v.t.Helper()
	leader := v.nodes[v.leader()]
	if err := leader.log.Barrier(testContext(v.t)); err != nil {
		v.t.Fatalf("%s: %v", mistake, err)
	}
	byIndex := map[state.Index]string{}
	for id, n := range v.nodes {
		if err := n.log.WaitApplied(testContext(v.t), leader.log.AppliedIndex()); err != nil {
			v.t.Fatalf("%s: %s: %v", mistake, id, err)
		}
		p := n.log.Chain()
		if other, ok := byIndex[p.Index]; ok && other != p.String() {
			v.t.Fatalf("%s: the histories have parted: %s and %s", mistake, other, p)
		}
		byIndex[p.Index] = p.String()
	}
}

// spot is one bit of one file, or a length to cut it to.
type spot struct {
	path string
	at   int64
}

func (p spot) in(dir string) string {
	return fmt.Sprintf("%s at byte %d", strings.TrimPrefix(p.path, dir+"/"), p.at)
}

// spots are bytes of the victim's folder, as many as are asked for, evenly spread over all files.
func (v *victim) spots() []spot {
	v.t.Helper()
	var all []spot
	for _, path := range v.files() {
		info, err := os.Stat(path)
		if err != nil {
			v.t.Fatal(err)
		}
		for at := range info.Size() {
			all = append(all, spot{path, at})
		}
	}
	want := mistakesEach
	switch text := os.Getenv(mistakesEnv); text {
	case "":
	case "all":
		want = len(all)
	default:
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			v.t.Fatalf("%s is %q, want a number or all", mistakesEnv, text)
		}
		want = n
	}
	stride := max(1, len(all)/want)
	v.t.Logf("%d bytes in %d files, a stride of %d", len(all), len(v.files()), stride)
	var some []spot
	for i := v.rand.IntN(stride); i < len(all); i += stride {
		some = append(some, all[i])
	}
	return some
}

// stopVictim stops the victim in order.
func (v *victim) stopVictim() {
	v.t.Helper()
	if err := v.nodes[v.id].Close(); err != nil {
		v.t.Fatal(err)
	}
	delete(v.nodes, v.id)
}

// Any bit of any file is flipped while a node is stopped.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	v.stopVictim()
	kept := filepath.Join(t.TempDir(), "kept")
	counts := map[verdict]int{}
	for _, p := range v.spots() {
		copyFolder(t, kept, v.dir())
		mask := byte(1) << v.rand.IntN(8)
		before, ok := xorByte(t, p, mask)
		if !ok {
			continue // the file has gone or become shorter since: an earlier mistake was healed
		}
		mistake := fmt.Sprintf("%s: %08b became %08b", p.in(v.dir()), before, before^mask)
		got := v.try(mistake)
		counts[got]++
		if testing.Verbose() {
			t.Logf("%s: %s", mistake, got)
		}
		if got == refuses {
			copyFolder(t, v.dir(), kept)
		}
	}
	t.Logf("%v", counts)
	v.start(v.id)
	v.ready(v.id)
	v.whole()
	v.sound("afterwards")
}

// xorByte flips bits of one byte of a file; ok is false when there is no such byte.
func xorByte(t *testing.T, p spot, mask byte) (before byte, ok bool) {
	t.Helper()
	f, err := os.OpenFile(p.path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, p.at); err != nil {
		return 0, false
	}
	if _, err := f.WriteAt([]byte{b[0] ^ mask}, p.at); err != nil {
		t.Fatal(err)
	}
	return b[0], true
}

// Each file is cut, to nothing, to half and by a byte, and removed.
func TestCutAndRemovedFiles(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	v.stopVictim()
	kept := filepath.Join(t.TempDir(), "kept")
	for _, path := range v.files() {
		for _, part := range []string{"all but a byte", "half", "nothing", "not even a name"} {
			whole, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) || len(whole) < 2 {
				continue // what was there was set aside
			}
			if err != nil {
				t.Fatal(err)
			}
			left := map[string]int64{"all but a byte": int64(len(whole) - 1), "half": int64(len(whole) / 2)}[part]
			copyFolder(t, kept, v.dir())
			if err := cutFile(path, left, part == "not even a name"); err != nil {
				t.Fatal(err)
			}
			mistake := fmt.Sprintf("%s of %s is left", part, strings.TrimPrefix(path, v.dir()+"/"))
			got := v.try(mistake)
			t.Logf("%s: %s", mistake, got)
			if got == refuses {
				copyFolder(t, v.dir(), kept)
			}
		}
	}
	v.start(v.id)
	v.ready(v.id)
	v.whole()
	v.sound("afterwards")
}

func cutFile(path string, left int64, remove bool) error {
	if remove {
		return os.Remove(path)
	}
	return os.Truncate(path, left)
}
