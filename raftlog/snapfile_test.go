package raftlog

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/datanode/datanode/raftlog/state"
)

// snapshotBytes are those of the newest snapshot in a stopped node's log, with what the node had come to.
func snapshotBytes(t *testing.T) (s *Stored, of StoredSnapshot, b []byte) {
	t.Helper()
	l := newStoppedLog(t, 60, 1)
	s = l.open(t)
	of = s.Snapshots[len(s.Snapshots)-1]
	return s, of, readFile(t, of.path)
}

// What is in a snapshot's file is what the folder says of it, and the state is that of its entry.
func TestReadSnapshot(t *testing.T) {
	s, of, b := snapshotBytes(t)
	got, err := ReadSnapshot(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	want, err := s.StateAt(of.Applied.Index)
	if err != nil {
		t.Fatal(err)
	}
	if got.Index != of.Index || got.Term != of.Term || got.Applied != of.Applied || got.Bytes != of.Bytes ||
		len(got.Voters) != 1 || got.Voters[0] != "n1" || got.Records == 0 ||
		!reflect.DeepEqual(got.View.Header(), want.Header()) || got.View.Counts() != want.Counts() {
		t.Errorf("%+v, want %+v", got, of)
	}
	if same, known := got.Follows(&got); !same || !known {
		t.Errorf("it follows itself: %t, known: %t", same, known)
	}
	other := got
	other.Applied.Hash[0]++
	if same, known := got.Follows(&other); same || !known {
		t.Errorf("it follows another history: %t, known: %t", same, known)
	}
}

// No byte of a snapshot can be another, and no end be missing, without an error; nor can bytes follow.
func TestReadSnapshotThatIsDamaged(t *testing.T) {
	_, _, whole := snapshotBytes(t)
	read := func(what string, at int, b []byte) {
		t.Helper()
		got, err := ReadSnapshot(bytes.NewReader(b))
		if !errors.As(err, new(*CorruptError)) && !errors.As(err, new(*UnknownError)) || got.View != nil {
			t.Errorf("%s %d: error %v, state: %t", what, at, err, got.View != nil)
		}
		if err != nil && strings.Contains(err.Error(), "checksum is right") {
			t.Errorf("%s %d: its checksum was not looked at before what it says: %v", what, at, err)
		}
	}
	for at := range whole {
		bad := bytes.Clone(whole)
		bad[at] ^= 1 << (at % 8)
		read("another byte", at, bad)
		read("cut to", at, whole[:at])
	}
	read("a byte more than", len(whole), append(bytes.Clone(whole), 0))
	read("of another program", 0, bytes.Repeat([]byte("PK\x03\x04"), 1000))
}

// A newer build's snapshot is not called damaged.
func TestReadSnapshotOfANewerBuild(t *testing.T) {
	_, _, b := snapshotBytes(t)
	b[len(snapshotMagic)] = byte(state.LevelNow) + 1
	if _, err := ReadSnapshot(bytes.NewReader(b)); !errors.As(err, new(*UnknownError)) {
		t.Errorf("error %v", err)
	}
}

// An ID that comes from a caller names a snapshot, and nothing else on the disk.
func TestSnapshotIDsAreNoPaths(t *testing.T) {
	s, of, _ := snapshotBytes(t)
	f, err := s.OpenSnapshot(of.ID)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close() // it was only opened
	for _, id := range []string{"", ".", "..", "1-2-3", "1-2-3/..", of.ID + "/../" + of.ID,
		"../" + snapshotDir + "/" + of.ID, filepath.Join(s.dir, snapshotDir, of.ID), of.ID + "/",
		of.ID + "x/../" + of.ID, "1-2-3\x00"} {
		if f, err := s.OpenSnapshot(id); err == nil {
			_ = f.Close()
			t.Errorf("%q was opened", id)
		} else if id != "1-2-3\x00" && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", id, err)
		}
	}
}
