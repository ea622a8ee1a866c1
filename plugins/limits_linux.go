package plugins

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// childPriority leaves the processors to the node, as far as there is work for them: 0 is that of the
// node, 19 the lowest there is. Beside two that do nothing but work, on two processors, a child has a
// quarter of one at 5, and a tenth at 10, where refusing took three seconds.
const childPriority = 5

// set holds this process to the limits. Of memory, it is RLIMIT_DATA, which counts what is private and
// writable (Linux 4.7 and later); RLIMIT_AS would count the gigabytes that the Go runtime reserves and
// never touches. What the process has already is not counted against it.
func (l limits) set() error {
	data := statusBytes("VmData:")
	if data == 0 {
		return fmt.Errorf("/proc/self/status does not tell VmData")
	}
	seconds := uint64(l.Processor/time.Second) + 2 // watch is there first; this is should it hang
	for _, limit := range []struct {
		name     string
		resource int
		most     uint64
	}{
		{"data", syscall.RLIMIT_DATA, uint64(data) + l.Data},
		{"processor time", syscall.RLIMIT_CPU, seconds},
		{"size of files", syscall.RLIMIT_FSIZE, maxMachineBytes},
		{"core dumps", syscall.RLIMIT_CORE, 0},
	} {
		if err := syscall.Setrlimit(limit.resource, &syscall.Rlimit{Cur: limit.most, Max: limit.most}); err != nil {
			return fmt.Errorf("limit of %s: %w", limit.name, err)
		}
	}
	_ = syscall.Setpriority(syscall.PRIO_PGRP, 0, childPriority) // only a courtesy
	return nil
}

// peakBytes is the most memory that this process had resident. What wait4 tells of a child would
// begin with the parent's, from which it was forked.
func peakBytes() int64 { return statusBytes("VmHWM:") }

// peakOf is peakBytes of a process that has ended without telling it; too much rather than too little.
func peakOf(ended *os.ProcessState) int64 {
	used, ok := ended.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	return used.Maxrss * 1024
}

// statusBytes is a line of /proc/self/status, such as "VmHWM:	  8768 kB"; 0 without.
func statusBytes(name string) int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, ok := bytes.Cut(text, []byte(name))
	fields := bytes.Fields(rest)
	if !ok || len(fields) == 0 {
		return 0
	}
	kib, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil {
		return 0
	}
	return kib * 1024
}

// processorTime is what this process has used of all processors.
func processorTime() time.Duration {
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// ownGroup keeps a terminal's interrupt from the child: the parent ends it.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
