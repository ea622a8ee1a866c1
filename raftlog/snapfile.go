package raftlog

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
)

// SnapshotFile is what is in a snapshot that was found sound. docs/snapshot-format.md has the format.
type SnapshotFile struct {
	// Index and Term are those of the last entry that the snapshot stands for, which may be one of the group's own that
	// follows Applied.Index. Both are 0, and Voters and Others empty, in a snapshot of a build that did not note them.
	Index  state.Index
	Term   uint64
	Voters []string // of the group
	Others []string // of the group, without a vote

	Applied ChainPoint // the last entry that is in the state
	Level   state.Level
	Records uint64 // all but the one that ends it
	Bytes   int64
	SHA256  string // of all bytes, in hexadecimal
	View    *state.View

	points chainPoints
	st     *state.State
}

// State is the state in the snapshot, to which the entries after it may be applied. View stays as it is.
func (s *SnapshotFile) State() *state.State { return s.st }

// ReadSnapshot reads a snapshot. It is read twice: what is in it is looked at once its checksum is known to be right.
// The error is a *CorruptError for bytes that are no whole snapshot, an *UnknownError for one of a newer build, and
// else that of from.
func ReadSnapshot(from io.ReadSeeker) (SnapshotFile, error) {
	out, err := sumSnapshot(from)
	if err != nil {
		return out, err
	}
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return out, err
	}
	r, err := readSnapshot(from)
	if err != nil && !errors.As(err, new(*UnknownError)) {
		err = corrupt("its checksum is right, and what it says cannot be: %s", err.Error())
	}
	if err != nil {
		return out, err
	}
	out.Applied, out.points, out.Level, out.View = r.chain, r.points, r.header.Level, r.st.Snapshot()
	out.st = r.st
	if !r.covers.known() {
		return out, nil
	}
	out.Index, out.Term = state.Index(r.covers.Index), r.covers.Term
	conf, err := parseConfiguration(r.covers.Configuration)
	out.Voters = votersOf(conf)
	for _, s := range conf.Servers {
		if s.Suffrage != raft.Voter {
			out.Others = append(out.Others, string(s.ID))
		}
	}
	return out, err
}

// sumSnapshot reads a snapshot to its end, and finds out whether it is whole. It answers its size.
func sumSnapshot(from io.Reader) (out SnapshotFile, err error) {
	whole := sha256.New()
	counted := &countingReader{from: io.TeeReader(from, whole)}
	r := &recordReader{from: bufio.NewReaderSize(counted, snapshotBufferSize), sum: crc32.New(castagnoli)}
	var k recordKind
	var b []byte
	for err = r.magic(); err == nil && k != recordEnd; {
		k, b, err = r.record()
	}
	if err == nil {
		err = r.end(b)
	}
	switch {
	case counted.err != nil:
		err = counted.err // the reader of records says only that it ends early
	case err != nil && counted.n == 0:
		err = corrupt("it is empty")
	}
	out.Records, out.Bytes, out.SHA256 = max(r.count, 1)-1, counted.n, fmt.Sprintf("%x", whole.Sum(nil))
	return out, err
}

// Follows reports whether the history of s goes on from that of older, as far as the chain points that it carries can
// tell: known is false where there is none at the place.
func (s *SnapshotFile) Follows(older *SnapshotFile) (same, known bool) {
	at, known := s.points.at(older.Applied.Index)
	return at == older.Applied, known
}

// Snapshots are those of a running node's log, oldest first, with the damaged ones and those set aside. They are read
// in full. A log in memory names those that its engine has, unread.
func (g *Group) Snapshots() ([]StoredSnapshot, error) {
	if g.snaps.dir != "" {
		return allSnapshots(g.snaps.dir)
	}
	list, err := g.snaps.List()
	var all []StoredSnapshot
	for _, m := range list {
		all = append(all, StoredSnapshot{ID: m.ID, Index: state.Index(m.Index), Term: m.Term, Bytes: m.Size})
	}
	slices.Reverse(all)
	return all, err
}

// OpenSnapshot opens a snapshot of a running node's log, by its ID. The error is fs.ErrNotExist where there is none.
func (g *Group) OpenSnapshot(id string) (*os.File, error) { return openSnapshot(g.snaps.dir, id) }

// OpenSnapshot opens a snapshot in the folder, by its ID. The error is fs.ErrNotExist where there is none.
func (s *Stored) OpenSnapshot(id string) (*os.File, error) {
	return openSnapshot(filepath.Join(s.dir, snapshotDir), id)
}

// SetAside are the snapshots that the node has set aside because they were damaged, as they are now.
func (s *Stored) SetAside() ([]StoredSnapshot, error) {
	return asideSnapshots(filepath.Join(s.dir, snapshotDir))
}

// openSnapshot opens one of those in a folder. The ID may come from anywhere: it is no path.
func openSnapshot(dir, id string) (*os.File, error) {
	if _, _, ok := snapshotName(id); !ok || filepath.Base(id) != id {
		return nil, &fs.PathError{Op: "open snapshot", Path: id, Err: fs.ErrNotExist}
	}
	return os.Open(filepath.Join(dir, id, stateFile))
}

// allSnapshots are those in a folder and those set aside beside it.
func allSnapshots(dir string) ([]StoredSnapshot, error) {
	all, err := storedSnapshots(dir)
	aside, asideErr := asideSnapshots(dir)
	return append(aside, all...), errors.Join(err, asideErr)
}

func asideSnapshots(dir string) ([]StoredSnapshot, error) {
	all, err := storedSnapshots(dir + asideSuffix)
	for i := range all {
		all[i].Aside = true
	}
	return all, err
}
