package logs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/raftlog/state/statetest"
)

// storedLog is the folder of the log of a cell to which the lines of package statetest were done.
func storedLog(t *testing.T, lines string, snapshots ...state.Index) string {
	t.Helper()
	type entry struct {
		at   state.Micros
		cmds []state.Command
	}
	var all []entry
	c := statetest.New()
	c.Log = func(i state.Index, at state.Micros, cmds []state.Command) {
		if all = append(all, entry{at, cmds}); int(i) != len(all) {
			t.Fatalf("entry %d is number %d", i, len(all))
		}
	}
	c.RunAll(lines)
	dir := t.TempDir()
	_, err := raftlog.MakeStored(dir, func(yield func(state.Micros, []state.Command) bool) {
		for _, e := range all {
			if !yield(e.at, e.cmds) {
				return
			}
		}
	})
	for _, at := range snapshots {
		err = errors.Join(err, raftlog.MakeStoredSnapshot(dir, at))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func openLog(t *testing.T, dir string) *Folder {
	t.Helper()
	f, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// quietCell makes entries 1 to 6.
const quietCell = "clock 2026-11-30T00:00:00Z\njoin n1 n2\nset replicas 1\ncreate on=n1\nset replicas 2\n" +
	"set lease 40s\nset replicas 3\n"

func wantCode(t *testing.T, what string, err error, code int, says string) {
	t.Helper()
	if got := exit.Code(t.Context(), err); got != code || !strings.Contains(fmt.Sprint(err), says) {
		t.Errorf("%s: exit code %d, %v; want %d, %q", what, got, err, code, says)
	}
}

// A snapshot that is saved is byte for byte that of the folder, is read back, and never takes the place of a file; one
// that is damaged leaves none.
func TestSaveSnapshot(t *testing.T) {
	log, to := storedLog(t, quietCell, 3, 5), t.TempDir()
	f := openLog(t, log)
	path := filepath.Join(to, "a.snap")
	saved, err := SaveSnapshot(t.Context(), f, "", path)
	if err != nil {
		t.Fatal(err)
	}
	if c := saved.Contents(); !c.OK || c.Applied != 5 || c.Name != f.Snapshots[1].ID ||
		c.Nodes["joining"]+c.Nodes["up"] != 2 || fmt.Sprint(c.Voters, c.Others) != "[n1] [n2]" {
		t.Errorf("saved: %+v", c)
	}
	original := filepath.Join(log, "snapshots", saved.Name, "state.bin")
	want, have := read(t, original), read(t, path)
	if string(want) != string(have) {
		t.Error("the file is not what the node has")
	}
	again, err := OpenSnapshot(path)
	if err != nil || again.SHA256 != saved.SHA256 {
		t.Errorf("read back: %v", err)
	}
	_, err = SaveSnapshot(t.Context(), f, f.Snapshots[0].ID, path)
	wantCode(t, "onto a file that is there", err, exit.Refused, "is there already")
	_, err = SaveSnapshot(t.Context(), f, "2-4-1", filepath.Join(to, "b.snap"))
	wantCode(t, "one that there is not", err, exit.NotFound, "has no snapshot 2-4-1")

	want[len(want)/2] ^= 4
	write(t, original, want)
	_, err = SaveSnapshot(t.Context(), f, saved.Name, filepath.Join(to, "b.snap"))
	wantCode(t, "a damaged one", err, exit.Corrupt, "checksum")
	f = openLog(t, log)
	older, err := SaveSnapshot(t.Context(), f, "", filepath.Join(to, "c.snap"))
	if err != nil || older.Contents().Applied != 3 {
		t.Errorf("the newest sound one: %+v, %v", older, err)
	}
	var names []string
	found, err := os.ReadDir(to)
	for _, e := range found {
		names = append(names, e.Name())
	}
	if err != nil || fmt.Sprint(names) != "[a.snap c.snap]" {
		t.Errorf("files %v, %v", names, err)
	}
}

// What cannot be a snapshot is said to be what it is.
func TestOpenSnapshotThatIsNone(t *testing.T) {
	dir := t.TempDir()
	make := func(name string, b []byte, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		write(t, path, b)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		path string
		code int
		says string
	}{
		{make("empty", nil, 0o600), exit.Corrupt, "it is empty"},
		{make("other", []byte("PK\x03\x04 and so on"), 0o600), exit.Corrupt, `not "PK`},
		{make("short", []byte("DNSNAP"), 0o600), exit.Corrupt, "ends early"},
		{make("long", []byte("DNSNAP\x01\x00\x01\xff\xff\xff\xff"), 0o600), exit.Corrupt, "declares 4294967295 bytes"},
		{make("newer", []byte("DNSNAP\xff\x00"), 0o600), exit.Refused, "use a newer one"},
		{dir, exit.Failed, "is no regular file"},
		{filepath.Join(dir, "none"), exit.NotFound, "no such file"},
	} {
		_, err := OpenSnapshot(c.path)
		wantCode(t, filepath.Base(c.path), err, c.code, c.says)
	}
	if os.Geteuid() != 0 { // root may read all
		_, err := OpenSnapshot(make("secret", nil, 0))
		wantCode(t, "no permission", err, exit.Failed, "permission denied")
	}
}

// The words are those that the log itself has for the same two entries.
func TestDiffSnapshots(t *testing.T) {
	f := openLog(t, storedLog(t, quietCell, 3, 6))
	read := func(f *Folder, i int) *Snapshot {
		t.Helper()
		s, err := ReadSnapshot(t.Context(), f, f.Snapshots[i].ID)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a, b := read(f, 0), read(f, 1)
	got, err := DiffSnapshots(a, b)
	want, wantErr := f.Between(3, 6)
	if err != nil || wantErr != nil || len(got) == 0 || !slices.Equal(got, want) {
		t.Errorf("%v, %v\nwant %v, %v", got, err, want, wantErr)
	}
	_, err = DiffSnapshots(b, a)
	wantCode(t, "the later one first", err, exit.Usage, "name the earlier one first")
	parted := openLog(t, storedLog(t, strings.Replace(quietCell, "set replicas 2", "set replicas 1", 1), 6))
	got, err = DiffSnapshots(b, read(parted, 0))
	wantCode(t, "another history", err, exit.Corrupt, "different histories")
	if len(got) != 0 {
		t.Errorf("the states are the same, and differ in %v", got)
	}
	view := *b.View
	view.Cell = "other"
	other := *b
	other.View = &view
	_, err = DiffSnapshots(a, &other)
	wantCode(t, "another cell", err, exit.Refused, "nothing to do with each other")
}

// A damaged entry ends what is known of the state, up to the snapshot behind it: from there on it is known again.
func TestTheStateIsFoundAgainAtASnapshot(t *testing.T) {
	for _, c := range []struct {
		name      string
		snapshots []state.Index
		known     []uint64
	}{
		{"with a snapshot behind the damaged entry", []state.Index{5}, []uint64{1, 2, 3, 6}},
		{"without", nil, []uint64{1, 2, 3}},
	} {
		dir := storedLog(t, quietCell, c.snapshots...)
		spoil(t, dir, 4)
		f := openLog(t, dir)
		var known []uint64
		var last *state.State
		for one, err := range follow(context.Background(), f, Range{From: 1}) {
			if err != nil {
				t.Fatal(err)
			}
			if one.st != nil {
				known, last = append(known, one.Index()), one.st
			}
		}
		if !slices.Equal(known, c.known) {
			t.Errorf("%s: the state is known before entries %v, want %v", c.name, known, c.known)
		}
		if len(c.snapshots) > 0 && (last.Applied != 6 || last.Settings.Replicas != 3 || last.Settings.LeaseMicros != 40e6) {
			t.Errorf("%s: the last state is that of entry %d, with %d replicas", c.name, last.Applied, last.Settings.Replicas)
		}
	}
}

// spoil changes the record of an entry.
func spoil(t *testing.T, dir string, index uint64) {
	t.Helper()
	db, err := bbolt.Open(raftlog.LogFile(dir), 0o600, nil)
	if err == nil {
		err = db.Update(func(tx *bbolt.Tx) error {
			key := binary.BigEndian.AppendUint64(nil, index)
			b := slices.Clone(tx.Bucket([]byte("logs")).Get(key))
			b[len(b)/2] ^= 0x40
			return tx.Bucket([]byte("logs")).Put(key, b)
		})
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// What was refused, and what an entry changed, is the same of a folder and of what only tells its entries; where the
// entries that lead there are gone, it is said up to where it cannot be told.
func TestRefusedWithoutAFolder(t *testing.T) {
	const lines = "clock 2026-11-30T00:00:00Z\njoin n1 n2\nset replicas 99\ncreate on=n1\nset lease 40s\nset lease never\n"
	w := newWritten()
	w.RunAll(lines)
	folder := openLog(t, storedLog(t, lines))
	for _, c := range []struct {
		name   string
		of     Source
		want   string
		untold uint64
	}{
		{"a folder", folder, "[2 5]", 0}, {"an export", w.export(t, 1, 0), "[2 5]", 0},
		{"an export without the first", w.export(t, 2, 0), "[]", 5}, {"one with a hole", w.export(t, 1, 4), "[2]", 5},
	} {
		f := Filter{Refused: true}
		got := []uint64{}
		for e, err := range f.Select(t.Context(), c.of, Range{}) {
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			got = append(got, e.Index)
		}
		if fmt.Sprint(got) != c.want || f.Untold() != c.untold {
			t.Errorf("%s: refused %d, untold up to %d; want %s, %d", c.name, got, f.Untold(), c.want, c.untold)
		}
	}
	for index := uint64(1); index <= 5; index++ {
		want, err := folder.Changes(index)
		got, known, gotErr := Changes(t.Context(), w.export(t, 1, 0), index)
		if err != nil || gotErr != nil || !known || !slices.Equal(got, want) {
			t.Errorf("entry %d: %v, known %t, %v; want %v, %v", index, got, known, gotErr, want, err)
		}
	}
	if got, known, err := Changes(t.Context(), w.export(t, 2, 0), 5); known || err != nil || got != nil {
		t.Errorf("without what led there: %v, known %t, %v", got, known, err)
	}
}
