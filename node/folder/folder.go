// Package folder is what a node's data folder says of whose it is: which node's, which cell has admitted that node with
// it, by which recovery its history goes, and where the members of the group are after all of them have moved at once.
//
// A Folder has no goroutine; its one lock is held while a file of a few hundred bytes is replaced.
package folder

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/raftlog/state"
)

// Identity is whose a data folder is. It is written when the folder is first used and again when the node learns its
// cell or of a recovery.
type Identity struct {
	Node string `json:"node"`
	Cell string `json:"cell,omitempty"` // empty until a cell has admitted the node
	// Era is the entry of the last recovery of the cell: see state.View.
	Era state.Index `json:"era,omitempty"`
}

// Log in a data folder holds the operation log, and IdentityFile the identity.
const (
	Log          = "log"
	IdentityFile = "identity.json"
	// DiskFile in a folder says that it is a further disk of a node: see package disks.
	DiskFile = "disk.json"

	maxIdentityBytes = 4 << 10
)

// Read is the identity in a folder. The error is fs.ErrNotExist where there is none.
func Read(fsys vfs.FS, dir string) (id Identity, err error) {
	raw, err := vfs.ReadFile(fsys, filepath.Join(dir, IdentityFile), maxIdentityBytes)
	if err != nil {
		return id, err
	}
	return id, json.Unmarshal(raw, &id)
}

// Write replaces the file in one step, so that a crash leaves the old or the new one.
func (id Identity) Write(fsys vfs.FS, dir string) error {
	raw, err := json.Marshal(id)
	if err != nil {
		return err
	}
	return vfs.ReplaceFile(fsys, filepath.Join(dir, IdentityFile), append(raw, '\n'))
}

// Folder is the folder of a node that runs. Its methods may be called from any goroutine.
type Folder struct {
	fs  vfs.FS
	dir string

	mu       sync.Mutex
	id       Identity // Guarded by mu.
	logCell  string   // Guarded by mu. Whose log is in it; empty until the log says.
	hasMoves bool     // Guarded by mu. There is a file of moves that the log does not have yet.
}

// Open makes dir the folder of a node, or refuses because it is another's. The errors are for the person who started
// the node.
func Open(fsys vfs.FS, dir, node string) (*Folder, error) {
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if err := fsys.Private(dir); err != nil {
		return nil, fmt.Errorf("data folder %s cannot be kept from other users: %w; "+
			"give it to the one that runs this node (chown -R), or choose another --dir", dir, err)
	}
	f := &Folder{fs: fsys, dir: dir}
	raw, err := vfs.ReadFile(fsys, filepath.Join(dir, IdentityFile), maxIdentityBytes)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := fsys.Stat(filepath.Join(dir, DiskFile)); err == nil {
			return nil, fmt.Errorf("data folder %s is a further disk of a node, and has no log; name the node's first "+
				"folder first, as at the starts before", dir)
		}
		f.id = Identity{Node: node}
		return f, f.id.Write(fsys, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if err := json.Unmarshal(raw, &f.id); err != nil {
		return nil, fmt.Errorf("data folder %s: %s is damaged: %w", dir, IdentityFile, err)
	}
	if f.id.Node != node {
		return nil, fmt.Errorf("data folder %s belongs to node %s, not %s; give this node its own --dir",
			dir, f.id.Node, node)
	}
	return f, nil
}

// Cell is the node's cell, as far as it is known.
func (f *Folder) Cell() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return cmp.Or(f.id.Cell, f.logCell)
}

// AdmittedBy is the cell that has admitted this node with this very folder, empty for none. Only that, not a log that a
// leader has filled it with, tells a folder that was emptied from one that was not.
func (f *Folder) AdmittedBy() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.id.Cell
}

// LearnCell notes whose log is in the folder, and refuses that of another cell than the folder's. Nothing is written.
func (f *Folder) LearnCell(cell string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if cell == "" {
		return nil
	}
	f.logCell = cell
	return f.checkCellLocked(cell)
}

// Admit records durably which cell has admitted the node.
func (f *Folder) Admit(cell string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.checkCellLocked(cell); err != nil || cell == f.id.Cell {
		return err
	}
	f.id.Cell = cell
	return f.id.Write(f.fs, f.dir)
}

func (f *Folder) checkCellLocked(cell string) error {
	if f.id.Cell != "" && cell != f.id.Cell {
		return fmt.Errorf("data folder %s belongs to cell %s, not %s; give this node its own --dir",
			f.dir, f.id.Cell, cell)
	}
	return nil
}

// Era is the last recovery that the folder names.
func (f *Folder) Era() state.Index {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.id.Era
}

// LearnEra records a recovery durably: the log has it only once the node has found its leader.
func (f *Folder) LearnEra(era state.Index) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if era <= f.id.Era || f.id.Cell == "" {
		return nil
	}
	f.id.Era = era
	return f.id.Write(f.fs, f.dir)
}
