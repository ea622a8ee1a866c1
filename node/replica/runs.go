package replica

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/datanode/datanode/node/internal/vfs"
)

// The age of a store. A folder that was put back from an older copy holds extents that end before what the cell has
// acknowledged since, and nothing in it says so. Two things show it. The cell remembers how far it has seen the node's
// log (state.Node.Seen); an older folder has a log that ends before. And the store lists the incarnations of the node
// that ran on it; an older one lacks the one that the cell knows. It is one list, and not the last incarnation alone,
// because a process may die before or after the cell has heard of it: then the last one is not the one known.
//
// Neither raises a false alarm after a crash: an entry is on the node's disk before the node applies it, and the list
// is on disk before the node joins.

const (
	runsFile     = "runs.json" // in the store's folder, so that it goes where the extents go
	maxRuns      = 64
	maxRunsBytes = 4 << 10
)

// NoteRun puts this incarnation into the store's list, durably, and answers those before it, the newest first.
func NoteRun(fsys vfs.FS, store string, incarnation uint64) (before []uint64, err error) {
	path := filepath.Join(store, runsFile)
	raw, err := vfs.ReadFile(fsys, path, maxRunsBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		if err := json.Unmarshal(raw, &before); err != nil {
			before = nil // as if it were not there: the store is compared with the log, which costs time only
		}
	}
	before = before[:min(len(before), maxRuns-1)]
	raw, err = json.Marshal(append([]uint64{incarnation}, before...))
	if err != nil {
		return nil, err
	}
	return before, vfs.ReplaceFile(fsys, path, append(raw, '\n'))
}
