//go:build unix && !wasip1

package raftlog

import (
	"errors"
	"os"
	"syscall"
)

// lockToRead keeps the store from being opened, or says that it is.
func lockToRead(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return inUse(f)
	}
	return err
}

func inodeOf(info os.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Ino
	}
	return 0
}
