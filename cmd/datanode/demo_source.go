package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/wire"
)

// errEnough ends the walk when there are files enough.
var errEnough = errors.New("enough files")

// demoPackage is a folder of the source tree, and the extent that it is stored in.
type demoPackage struct {
	class   string
	primary string
	files   []demoFile
	extent  uint64
	deleted bool
}

// demoFile is an original and where its bytes are stored.
type demoFile struct {
	path    string
	locator wire.Locator
}

// tree is the root of what is stored.
func (d *demonstration) tree(ctx context.Context) (string, error) {
	if d.source != "" {
		return d.source, nil
	}
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", withCode(exitNotFound, "there is no Go on this machine to take files from (%w); name a folder with --source", err)
	}
	return filepath.Join(string(bytes.TrimSpace(out)), "src"), nil
}

// collect finds the files to store, by folder, in the order of their names.
func (d *demonstration) collect(ctx context.Context) ([]*demoPackage, error) {
	root, err := d.tree(ctx)
	if err != nil {
		return nil, err
	}
	byFolder := map[string]*demoPackage{}
	var all []*demoPackage
	files := 0
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || !entry.Type().IsRegular():
			return err
		case d.files > 0 && files == d.files:
			return errEnough
		}
		folder := filepath.Dir(path)
		p := byFolder[folder]
		if p == nil {
			p = &demoPackage{class: classOf(root, folder)}
			byFolder[folder] = p
			all = append(all, p)
		}
		p.files = append(p.files, demoFile{path: path})
		files++
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, fileError(err)
	}
	if len(all) < demoDeleteEach {
		return nil, withCode(exitFailed, "%s has files in %d folders; the demo wants %d or more", root, len(all), demoDeleteEach)
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

func (f *demoFile) read() ([]byte, error) { return os.ReadFile(f.path) }
