//go:build !unix || wasip1

package raftlog

import "os"

// lockToRead does nothing: who has the store open is not known here.
func lockToRead(*os.File) error { return nil }

func inodeOf(os.FileInfo) uint64 { return 0 }
