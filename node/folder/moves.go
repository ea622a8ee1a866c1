package folder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/raftlog/state"
)

// MovesFile in a data folder says where the members of the group are now, after all of them have moved at once. It is
// written by hand (datanode recover), and goes once the log says the same.
const (
	MovesFile = "moved.json"

	maxMovesBytes = 64 << 10
)

// Moves are the members' addresses by that file, nil where there is none.
func (f *Folder) Moves() (map[state.NodeID]string, error) {
	path := filepath.Join(f.dir, MovesFile)
	raw, err := vfs.ReadFile(f.fs, path, maxMovesBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var moves map[state.NodeID]string
	if err == nil {
		err = json.Unmarshal(raw, &moves)
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w; run datanode recover --addresses again", path, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hasMoves = moves != nil
	return moves, nil
}

// WriteMoves has a folder say where members are, durably.
func WriteMoves(fsys vfs.FS, dir string, moves map[string]string) error {
	raw, err := json.Marshal(moves)
	if err != nil {
		return err
	}
	return vfs.ReplaceFile(fsys, filepath.Join(dir, MovesFile), append(raw, '\n'))
}

// ForgetMoves removes the file, if Moves has found one, once the log has all that it says. The log is asked without a
// lock: it may ask for the cell.
func (f *Folder) ForgetMoves(logHasAll func() (bool, error)) error {
	f.mu.Lock()
	has := f.hasMoves
	f.mu.Unlock()
	if !has {
		return nil
	}
	if all, err := logHasAll(); err != nil || !all {
		return err
	}
	if err := f.fs.Remove(filepath.Join(f.dir, MovesFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f.mu.Lock()
	f.hasMoves = false
	f.mu.Unlock()
	return f.fs.SyncDir(f.dir)
}
