//go:build unix

package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// modes gives each folder under root its mode.
func modes(t *testing.T, root string) map[string]fs.FileMode {
	t.Helper()
	found := map[string]fs.FileMode{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if d.IsDir() {
			found[name] = info.Mode().Perm()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Whatever modes folders had, their owner alone looks into them afterwards; the folder above is left alone.
func TestPrivate(t *testing.T) {
	above := t.TempDir()
	if err := os.Chmod(above, 0o755); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(above, "n1")
	for _, dir := range []struct {
		name string
		mode os.FileMode
	}{{"", 0o755}, {"store", 0o777}, {"store/a", 0o750}, {"store/a/b", 0o500}, {"log", 0o700}, {"policies", 0o711}} {
		name := filepath.Join(root, dir.name)
		if err := errors.Join(os.Mkdir(name, 0o700), os.Chmod(name, dir.mode)); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(above, "link")
	if err := os.Symlink(root, link); err != nil {
		t.Fatal(err)
	}
	for _, how := range []string{root, link} {
		if err := os.Chmod(filepath.Join(root, "store"), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := (OS{}).Private(how); err != nil {
			t.Fatal(err)
		}
		for name, mode := range modes(t, root) {
			if mode != 0o700 {
				t.Errorf("%s has mode %04o, want 0700", name, mode)
			}
		}
	}
	if mode := modes(t, above)[above]; mode != 0o755 {
		t.Errorf("the folder above has mode %04o now", mode)
	}
	fresh := filepath.Join(root, "x", "y")
	if err := (OS{}).MkdirAll(fresh); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(fresh, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := (OS{}).MkdirAll(fresh); err != nil {
		t.Fatal(err)
	}
	for name, mode := range modes(t, root) {
		if mode != 0o700 {
			t.Errorf("%s has mode %04o, want 0700", name, mode)
		}
	}
}
