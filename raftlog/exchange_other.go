//go:build !linux

package raftlog

import "errors"

// exchange would let two files change their names, in one step.
func exchange(string, string) error { return errors.ErrUnsupported }
