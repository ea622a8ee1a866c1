package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	members    = 3
	startLimit = time.Minute
)

// addresses are count free ones of this machine.
func addresses(count int) ([]string, error) {
	var all []string
	for range count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // only when all are there, so that no two are the same
		all = append(all, l.Addr().String())
	}
	return all, nil
}

// processes are those of one peer.
type processes []*exec.Cmd

// start runs a command; what it says goes to a file.
func (p *processes) start(log string, cmd *exec.Cmd) error {
	if err := os.MkdirAll(filepath.Dir(log), 0o700); err != nil {
		return err
	}
	f, err := os.Create(log)
	if err != nil {
		return err
	}
	defer f.Close() // the process has its own
	cmd.Stdout, cmd.Stderr = f, f
	// Not in the group that a terminal interrupts: they are stopped when the measurement is.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	*p = append(*p, cmd)
	return nil
}

func (p processes) pids() []int {
	var all []int
	for _, cmd := range p {
		all = append(all, cmd.Process.Pid)
	}
	return all
}

// stop kills them: what they have stored is removed next.
func (p processes) stop() {
	for _, cmd := range p {
		_ = errors.Join(cmd.Process.Kill(), cmd.Wait()) // killed is what it should be
	}
}
