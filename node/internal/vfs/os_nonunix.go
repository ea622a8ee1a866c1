//go:build !unix

package vfs

import (
	"io"
	"io/fs"
)

// Private implements FS. wasip1 has no modes.
func (OS) Private(string) error { return nil }

func ownersOnly(string, fs.FileInfo) error { return nil }

// SyncDir implements FS. Where folders cannot be synced (wasip1 in simulation, whose host decides
// what a crash loses) it does nothing.
func (OS) SyncDir(string) error { return nil }

// Lock implements FS. wasip1 has no locks and a simulated node has no second process, so nothing
// is locked.
func (OS) Lock(string) (io.Closer, error) { return noLock{}, nil }

type noLock struct{}

func (noLock) Close() error { return nil }

func diskBytes(info fs.FileInfo) int64 { return info.Size() }
