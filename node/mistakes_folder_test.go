package node

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/datanode/datanode/wire"
)

// copyFolder replaces a folder by a copy of another.
func copyFolder(t *testing.T, to, from string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// An older copy of a node's folder is put back: one that was made while the node was stopped, and one from under the
// running node. What was acknowledged since is served all the same, and what was deleted since stays so.
func TestOlderFolder(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	live, stopped := filepath.Join(t.TempDir(), "live"), filepath.Join(t.TempDir(), "stopped")
	copyFolder(t, live, v.dir())
	v.stopVictim()
	copyFolder(t, stopped, v.dir())
	v.start(v.id)
	v.ready(v.id)
	for i := range 3 {
		p := pattern(uint64(60+i), 700+i)
		v.kept[v.put(p)] = p
		p = pattern(uint64(70+i), 1500+i)
		v.kept[v.sealed(p)] = p
	}
	later := v.sealed(pattern(80, 1000))
	v.run(wire.Submission{Kind: "delete", Extent: later.Extent})
	v.stopVictim()
	for name, old := range map[string]string{
		"a copy from under the running node": live,
		"a copy of the stopped node":         stopped,
	} {
		copyFolder(t, v.dir(), old)
		t.Logf("%s: %s", name, v.try(name))
		if err := v.readVia(v.leader(), later, new(bytes.Buffer)); wire.CodeOf(err) != wire.CodeNotFound {
			t.Errorf("%s: what was deleted since is read: %v", name, err)
		}
	}
	v.start(v.id)
	v.ready(v.id)
	v.whole()
	v.sound("afterwards")
}

// Two nodes' folders change places, the log of a folder is removed, or all that is in it.
func TestFolderMistakes(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	v.stopVictim()
	mine := v.configs[v.id]
	kept := filepath.Join(t.TempDir(), "kept")
	copyFolder(t, kept, mine.Dir)

	for other := range v.nodes {
		swapped := mine
		swapped.Dir = filepath.Join(t.TempDir(), "swapped")
		copyFolder(t, swapped.Dir, v.configs[other].Dir)
		v.configs[v.id] = swapped
		if got := v.try("the folder of " + other); got != refuses {
			t.Errorf("%s with the folder of %s: %s", v.id, other, got)
		}
		v.configs[v.id] = mine
		copyFolder(t, mine.Dir, kept)
	}
	for _, gone := range []string{
		"log", "log/log.db", "log/snapshots", "store", "store/fences", "store/extents", "identity.json", ".",
	} {
		if err := os.RemoveAll(filepath.Join(mine.Dir, gone)); err != nil && gone != "." {
			t.Fatal(err)
		}
		got := v.try(gone + " is removed")
		t.Logf("%s is removed: %s", gone, got)
		if got == refuses {
			copyFolder(t, mine.Dir, kept)
		}
	}
	v.start(v.id)
	v.ready(v.id)
	v.whole()
	v.sound("afterwards")
}
