package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// identity is what a data folder says about whose it is. It is written when the folder is first
// used and again when the node learns its cell, and it is never changed after that.
type identity struct {
	Node string `json:"node"`
	Cell string `json:"cell,omitempty"` // empty until the log has told
}

const identityFile = "identity.json"

// claim makes dir the folder of node, or refuses because it is another's.
func claim(dir, node string) (id identity, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return identity{}, fmt.Errorf("data folder: %w", err)
	}
	path := filepath.Join(dir, identityFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		id = identity{Node: node}
		return id, id.write(dir)
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
func (id identity) write(dir string) error {
	raw, err := json.Marshal(id)
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, identityFile+".new")
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(raw, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", tmp, err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, identityFile)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
