package demo

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
)

// errEnough ends the walk when there are files enough.
var errEnough = errors.New("enough files")

// Package is a folder of the source tree, and the extent that it is stored in.
type Package struct {
	Class   string
	primary string
	Files   []File
	Extent  uint64
	Deleted bool
}

// File is an original and where its bytes are stored.
type File struct {
	path    string
	locator wire.Locator
}

// tree is the root of what is stored.
func (d *Options) tree(ctx context.Context) (string, error) {
	if d.Source != "" {
		return d.Source, nil
	}
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", exit.With(exit.NotFound,
			"there is no Go on this machine to take files from (%w); name a folder with --source", err)
	}
	return filepath.Join(string(bytes.TrimSpace(out)), "src"), nil
}

// Collect finds the files to store, by folder, in the order of their names.
func (d *Options) Collect(ctx context.Context) ([]*Package, error) {
	root, err := d.tree(ctx)
	if err != nil {
		return nil, err
	}
	byFolder := map[string]*Package{}
	var all []*Package
	files := 0
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || !entry.Type().IsRegular():
			return err
		case d.Files > 0 && files == d.Files:
			return errEnough
		}
		folder := filepath.Dir(path)
		p := byFolder[folder]
		if p == nil {
			p = &Package{Class: classOf(root, folder)}
			byFolder[folder] = p
			all = append(all, p)
		}
		p.Files = append(p.Files, File{path: path})
		files++
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, exit.File(err)
	}
	if len(all) < deleteEach {
		return nil, exit.With(exit.Failed, "%s has files in %d folders; the demo wants %d or more", root, len(all),
			deleteEach)
	}
	return all, nil
}

// classOf is the class tag of a folder: the first part of its path.
func classOf(root, folder string) string {
	relative, err := filepath.Rel(root, folder)
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(filepath.ToSlash(relative), "/")
	return first[:min(len(first), policies.ClassBytes)]
}

func (f *File) read() ([]byte, error) { return os.ReadFile(f.path) }
