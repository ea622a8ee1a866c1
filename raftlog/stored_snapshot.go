package raftlog

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/datanode/datanode/raftlog/state"
)

// StoredSnapshot is a snapshot in a folder.
type StoredSnapshot struct {
	ID      string // TERM-INDEX-MILLISECONDS, as the engine names it
	Index   state.Index
	Term    uint64
	Applied ChainPoint // the last entry that is in its state
	Taken   time.Time
	Bytes   int64
	Version uint16 // a state.Level
	Err     error  // why it does not count, nil when it is sound
	Aside   bool   // the node has set it aside: it does not count, whatever it is now

	path   string // of its state
	points chainPoints
}

// storedSnapshots are those in a folder of snapshots, oldest first. They are read in full.
func storedSnapshots(dir string) (all []StoredSnapshot, err error) {
	found, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, f := range found {
		if f.IsDir() && filepath.Ext(f.Name()) != tmpSuffix {
			all = append(all, storedSnapshot(dir, f.Name()))
		}
	}
	slices.SortFunc(all, func(a, b StoredSnapshot) int {
		return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.ID, b.ID))
	})
	return all, err
}

func storedSnapshot(dir, id string) StoredSnapshot {
	out := StoredSnapshot{ID: id, path: filepath.Join(dir, id, stateFile)}
	term, index, _ := snapshotName(id)
	out.Term, out.Index = term, state.Index(index)
	if info, err := os.Stat(out.path); err == nil {
		out.Bytes, out.Taken = info.Size(), info.ModTime()
	}
	head, found, err := scanStateFile(out.path)
	if err != nil {
		out.Err = withFile(err, out.path)
		return out
	}
	out.Applied, out.Version, out.points = head.chain, uint16(head.header.Level), head.points
	found.ID = id
	noted, err := readSnapshotMeta(filepath.Join(dir, id, metaFile))
	if err == nil {
		found.Version = noted.Version
		err = found.compare(noted, head.covers)
	}
	if err == nil {
		out.Index, out.Term = state.Index(noted.Index), noted.Term
	} else if head.covers.known() {
		out.Index, out.Term, err = state.Index(head.covers.Index), head.covers.Term, nil // a start mends it
	}
	out.Err = withFile(err, filepath.Join(dir, id, metaFile))
	return out
}

// state is the state in the snapshot.
func (s *StoredSnapshot) state() (restored, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return restored{}, err
	}
	defer f.Close()
	r, err := readSnapshot(f)
	return r, withFile(err, s.path)
}

// snapshotBefore is the newest sound snapshot whose state is that of an entry up to index, nil for none.
func (s *Stored) snapshotBefore(index state.Index) *StoredSnapshot {
	for i := len(s.Snapshots) - 1; i >= 0; i-- {
		if snap := &s.Snapshots[i]; snap.Err == nil && snap.Applied.Index <= index {
			return snap
		}
	}
	return nil
}
