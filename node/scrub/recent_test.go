package scrub

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/datanode/datanode/crc32c"
	"github.com/datanode/datanode/node/clock"
	"github.com/datanode/datanode/node/extent"
	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
	"github.com/datanode/datanode/wire/mux"
)

// What was written last before a start is read before all else, whatever was verified of it before; and what of it
// turns out to be damaged is reported.
func TestRecentComesFirst(t *testing.T) {
	dir := t.TempDir()
	store, _, err := extent.Open(vfs.OS{}, dir, extent.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	cell := statetest.New()
	cell.RunAll("join n1\nset scrub-pace 1Gi")
	p := bytes.Repeat([]byte("datanode"), 1000)
	now := time.Now()
	ages := map[extent.ID]time.Duration{1: 3 * time.Hour, 2: 150 * time.Minute, 3: 2 * time.Hour, 4: 80 * time.Minute}
	for id := extent.ID(1); id <= 4; id++ {
		e := fmt.Sprintf("create on=n1 want=1\nstart create executor=n1\nfinish create done\nseal %d\n"+
			"start seal executor=n1\nfinish seal done length=%d sum=%d confirmed=n1", id, len(p), crc32c.Sum(p))
		cell.RunAll(e)
		birth := extent.Birth(cell.State.Snapshot().Extent(state.ExtentID(id)).Birth())
		for _, err := range []error{
			store.Create(id, 1, birth), store.Append(id, 1, 0, p), store.Seal(id, uint64(len(p))),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		file := fileOf(t, dir, id)
		if id == 3 {
			flipByte(t, file, 3000)
		}
		if err := os.Chtimes(file, time.Time{}, now.Add(-ages[id])); err != nil {
			t.Fatal(err)
		}
	}
	var unread []state.ExtentID
	s := New(Options{
		ID: "n1", Store: store, Clock: clock.Of(mux.Clock{}), Logger: slog.New(slog.DiscardHandler),
		View: cell.State.Snapshot, Busy: func() bool { return false },
		Unread: func(e *state.Extent, _ error) { unread = append(unread, e.ID) },
	})
	s.Note(3)
	s.Note(4)
	if got, want := s.written(), []state.ExtentID{3, 4}; !slices.Equal(got, want) {
		t.Fatalf("read first are %v, want %v: an hour before the last write", got, want)
	}
	if err := s.recent(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []state.ExtentID{3}; !slices.Equal(unread, want) || !s.VerifiedAt(3).IsZero() {
		t.Errorf("damaged are %v, want %v; 3 was verified at %s", unread, want, s.VerifiedAt(3))
	}
	if got := s.bytes.Load(); got != uint64(2*len(p)) {
		t.Errorf("%d bytes were read, want those of two extents, %d", got, 2*len(p))
	}
}

// fileOf is the file of an extent in a store.
func fileOf(t *testing.T, dir string, id extent.ID) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "extents", "*", fmt.Sprintf("%d.ext", id)))
	if err != nil || len(found) != 1 {
		t.Fatalf("the files of extent %d are %v, %v", id, found, err)
	}
	return found[0]
}

func flipByte(t *testing.T, name string, at int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}
