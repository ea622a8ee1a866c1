package raftlog

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// InUseError says that a log cannot be read where it is, as a node runs with it.
type InUseError struct {
	Path    string
	Process int    // 0 where it is not known
	Command string // of the process, empty where it is not known
}

func (e *InUseError) Error() string {
	who := "another process"
	if e.Process != 0 {
		who = fmt.Sprintf("process %d", e.Process)
	}
	if e.Command != "" {
		who += " (" + e.Command + ")"
	}
	return e.Path + " is in use by " + who
}

// inUse finds out who has a lock on f, as far as the system tells.
func inUse(f *os.File) error {
	out := &InUseError{Path: f.Name()}
	info, err := f.Stat()
	if err != nil {
		return out
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return out
	}
	out.Process = lockHolder(locks, inodeOf(info))
	if raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", out.Process)); err == nil {
		out.Command = strings.TrimSpace(string(bytes.ReplaceAll(raw, []byte{0}, []byte{' '})))
	}
	return out
}

// lockHolder is the process that /proc/locks names for an inode, 0 for none. A line is "1: FLOCK ADVISORY WRITE 4711
// fd:01:123456 0 EOF"; one that waits has "->" after the number.
func lockHolder(locks []byte, inode uint64) int {
	for line := range strings.Lines(string(locks)) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[1] == "->" || !strings.HasSuffix(fields[5], ":"+strconv.FormatUint(inode, 10)) {
			continue
		}
		if pid, err := strconv.Atoi(fields[4]); err == nil {
			return pid
		}
	}
	return 0
}
