package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/datanode/datanode/node/internal/vfs"
	"github.com/datanode/datanode/raftlog/state"
)

// identity is what a data folder says about whose it is. It is written when the folder is first
// used and again when the node learns its cell, and it is never changed after that.
type identity struct {
	Node string `json:"node"`
	Cell string `json:"cell,omitempty"` // empty until the log has told
	// Era is the entry of the last recovery of the cell: see state.View.
	Era state.Index `json:"era,omitempty"`
}

// logDir in a data folder holds the operation log.
const logDir = "log"

const (
	identityFile     = "identity.json"
	maxIdentityBytes = 4 << 10
)

// claim makes dir the folder of node, or refuses because it is another's.
func claim(fsys vfs.FS, dir, node string) (id identity, err error) {
	if err := fsys.MkdirAll(dir); err != nil {
		return identity{}, fmt.Errorf("data folder: %w", err)
	}
	if err := fsys.Private(dir); err != nil {
		return identity{}, fmt.Errorf("data folder %s cannot be kept from other users: %w; "+
			"give it to the one that runs this node (chown -R), or choose another --dir", dir, err)
	}
	path := filepath.Join(dir, identityFile)
	raw, err := vfs.ReadFile(fsys, path, maxIdentityBytes)
	if errors.Is(err, fs.ErrNotExist) {
		id = identity{Node: node}
		return id, id.write(fsys, dir)
	}
	if err != nil {
		return identity{}, fmt.Errorf("data folder: %w", err)
	}
	if err := json.Unmarshal(raw, &id); err != nil {
		return identity{}, fmt.Errorf("data folder %s: %s is damaged: %w", dir, identityFile, err)
	}
	if id.Node != node {
		return identity{}, fmt.Errorf("data folder %s belongs to node %s, not %s; give this node its own --dir", dir, id.Node, node)
	}
	return id, nil
}

// write replaces the file in one step, so that a crash leaves the old or the new one.
func (id identity) write(fsys vfs.FS, dir string) error {
	raw, err := json.Marshal(id)
	if err != nil {
		return err
	}
	return vfs.ReplaceFile(fsys, filepath.Join(dir, identityFile), append(raw, '\n'))
}
