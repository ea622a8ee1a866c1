#!/usr/bin/env bash
# Go 1.26 os/exec on Linux 6.18: the peak memory of a child that has ended is its parent's.
#
# Expected: ProcessState.SysUsage().Maxrss, the ru_maxrss that wait4 returns, is the most memory that the child has had:
# the plainest way to hold a program to a bound in a test, or to write down what a tool needs.
# Seen: `true`, started by a process that has 256 MiB, "has had" over 256 MiB. Go starts a child in its own address space
# (CLONE_VM with CLONE_VFORK), and at exec the kernel puts the peak of the address space that is left, the parent's, into
# the child's account. VmHWM in /proc/PID/status belongs to the new address space alone and is right, while it can be read.
# Why it matters: a test of a bound passes alone and fails in a full run, as the tests before it have made the test
# process large; a measured figure is that of the program that measures.
#
# Needs Go. Prints both figures for a parent that has little and one that has much; exit 1 when the behaviour is another.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"
)

const mib = 1 << 20

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// child runs cat until its input ends, and returns its peak memory in MiB: VmHWM before the end, ru_maxrss after.
func child() (hwm, maxrss int64) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	must(err)
	out, err := cmd.StdoutPipe()
	must(err)
	must(cmd.Start())
	_, err = in.Write([]byte("x")) // once it comes back, cat runs
	must(err)
	_, err = io.ReadFull(out, make([]byte, 1))
	must(err)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	must(err)
	kib, err := strconv.ParseInt(string(regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(text)[1]), 10, 64)
	must(err)
	must(in.Close())
	must(cmd.Wait())
	return kib << 10 / mib, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10 / mib
}

func main() {
	_, before := child()
	hoard := make([]byte, 256*mib)
	for i := range hoard {
		hoard[i] = 1
	}
	hwm, after := child()
	fmt.Printf("cat, started by a small process: ru_maxrss %d MiB\n", before)
	fmt.Printf("cat, started by one that has 256 MiB: ru_maxrss %d MiB, VmHWM %d MiB\n", after, hwm)
	if before > 64 || after < 256 || hwm > 64 || hoard[0] != 1 {
		fmt.Println("the behaviour has changed")
		os.Exit(1)
	}
}
GO
cat >go.mod <<'MOD'
module child

go 1.25
MOD
go run .
