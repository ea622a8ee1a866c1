package raftlog

import "os"

// What is on disk is for the node alone.
const (
	filePerm = 0o600
	dirPerm  = 0o700
)

// ownDir makes a folder, with its parents, that nobody but its owner may look into, also if it is there already.
func ownDir(dir string) error {
	if err := os.MkdirAll(dir, dirPerm); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() == dirPerm {
		return err
	}
	return os.Chmod(dir, dirPerm)
}
