package node

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/datanode/datanode/wire/client"
)

// Nobody but the node's own user looks into its folders, whatever modes they were given before.
func TestFoldersArePrivate(t *testing.T) {
	t.Parallel()
	c := newCellWith(t, 1, 0, func(cfg *Config) {
		for _, dir := range []string{"", "store", "log", "log/snapshots", "policies", "policies/old"} {
			name := filepath.Join(cfg.Dir, dir)
			if err := errors.Join(os.MkdirAll(name, 0o700), os.Chmod(name, 0o777)); err != nil {
				t.Fatal(err)
			}
		}
	})
	if _, err := c.client.Put(testContext(t), bytes.NewReader(pattern(1, 1<<20)), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.nodes["n1"].log.Snapshot(testContext(t)); err != nil {
		t.Fatal(err)
	}
	folders := 0
	err := filepath.WalkDir(c.configs["n1"].Dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if !d.IsDir() {
			return nil
		}
		folders++
		if mode := info.Mode().Perm(); mode != 0o700 {
			t.Errorf("%s has mode %04o, want 0700", name, mode)
		}
		return nil
	})
	if err != nil || folders < 7 {
		t.Errorf("%d folders, %v", folders, err)
	}
}
