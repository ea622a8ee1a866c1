package main

import (
	"os"
	"syscall"
)

// datasync makes a file's bytes durable, and of what describes it what is needed to read them.
func datasync(f *os.File) error {
	if err := syscall.Fdatasync(int(f.Fd())); err != nil {
		return os.NewSyscallError("fdatasync", err)
	}
	return nil
}

func openDirect(file string) (*os.File, error) {
	return os.OpenFile(file, os.O_WRONLY|os.O_CREATE|syscall.O_DIRECT, 0o600)
}
