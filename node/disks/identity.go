package disks

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/datanode/datanode/node/folder"
	"github.com/datanode/datanode/node/internal/vfs"
)

const (
	// IdentityFile in a further folder says which disk of which node it is.
	IdentityFile = folder.DiskFile
	// ListFile in the first folder lists the further disks of the node. A node that never had any has no such file.
	ListFile = "disks.json"

	storeFolder      = "store"
	maxIdentityBytes = 4 << 10
	maxListBytes     = 64 << 10
)

// identity is what a further folder says of itself.
type identity struct {
	Disk string `json:"disk"` // d1, d2, …: unique in its node, and never given again
	Node string `json:"node"`
	Cell string `json:"cell,omitempty"` // empty until a cell has admitted the node
	Key  string `json:"key"`            // tells it from every other folder that was ever made
}

func readIdentity(fsys vfs.FS, dir string) (id identity, err error) {
	raw, err := vfs.ReadFile(fsys, filepath.Join(dir, IdentityFile), maxIdentityBytes)
	if err != nil {
		return id, err
	}
	if err := json.Unmarshal(raw, &id); err != nil || id.Disk == "" || id.Key == "" {
		return id, &damagedError{file: filepath.Join(dir, IdentityFile), err: err}
	}
	return id, nil
}

// damagedError is an identity that can be read and says nothing.
type damagedError struct {
	file string
	err  error
}

func (e *damagedError) Error() string {
	return fmt.Sprintf("%s is damaged (%v); put it back from a copy, or give the node an empty folder in its place",
		e.file, e.err)
}

func (e *damagedError) Unwrap() error { return e.err }

func (id identity) write(fsys vfs.FS, dir string) error {
	raw, err := json.Marshal(id)
	if err != nil {
		return err
	}
	return vfs.ReplaceFile(fsys, filepath.Join(dir, IdentityFile), append(raw, '\n'))
}

// list is what the first folder remembers of the further ones.
type list struct {
	Next  int          `json:"next"` // the number of the next disk. Invariant: above all that were ever given
	Disks []remembered `json:"disks"`
	// Gone are those that were taken out. They are refused should they come back: what they have is of the past.
	Gone []remembered `json:"gone,omitempty"`
}

type remembered struct {
	Disk     string `json:"disk"`
	Key      string `json:"key"`
	Dir      string `json:"dir"` // where it was last
	Draining bool   `json:"draining,omitempty"`
}

// readList is empty where there is no file.
func readList(fsys vfs.FS, dir string) (l list, err error) {
	name := filepath.Join(dir, ListFile)
	raw, err := vfs.ReadFile(fsys, name, maxListBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return list{Next: 1}, nil
	}
	if err == nil {
		if err = json.Unmarshal(raw, &l); err != nil {
			err = &damagedError{file: name, err: err}
		}
	}
	l.Next = max(l.Next, 1)
	return l, err
}

func (l *list) write(fsys vfs.FS, dir string) error {
	raw, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return vfs.ReplaceFile(fsys, filepath.Join(dir, ListFile), append(raw, '\n'))
}

func (l *list) clone() list {
	return list{Next: l.Next, Disks: slices.Clone(l.Disks), Gone: slices.Clone(l.Gone)}
}

func (l *list) at(dir string) *remembered {
	return l.find(func(r remembered) bool { return r.Dir == dir })
}

func (l *list) find(is func(remembered) bool) *remembered {
	if i := slices.IndexFunc(l.Disks, is); i >= 0 {
		return &l.Disks[i]
	}
	return nil
}

// isNew reports whether a folder may become a disk: there is nothing in it but what file systems and a start that was
// cut off leave.
func isNew(fsys vfs.FS, dir string) (bool, string, error) {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, "", nil
	}
	if err != nil {
		return false, "", err
	}
	if slices.Contains(names, folder.IdentityFile) {
		return false, "it is the first --dir of a node", nil
	}
	for _, name := range names {
		if name != "lost+found" && name != IdentityFile+".new" {
			return false, fmt.Sprintf("it is not empty: there is %q in it", name), nil
		}
	}
	return true, "", nil
}
