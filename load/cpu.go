package load

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// tick is the unit of processor times in /proc, 1/100 s on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// spending is processor time, user's and system's.
type spending struct{ servers, client time.Duration }

func (r *run) spending() (spending, error) {
	var s spending
	for _, pid := range r.Servers {
		used, err := Spent(pid)
		if err != nil {
			return spending{}, err
		}
		s.servers += used
	}
	used, err := Spent(os.Getpid())
	if len(r.Servers) == 0 {
		err = nil // nobody asked: a system without /proc has none
	}
	s.client = used
	return s, err
}

// Spent is the processor time that a process of this machine has used until now.
func Spent(pid int) (time.Duration, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
	}
	return parseStat(text)
}

// parseStat reads user's and system's time, the 14th and 15th field of proc_pid_stat(5). The second field is a name in
// parentheses, which may itself hold spaces and parentheses.
func parseStat(text []byte) (time.Duration, error) {
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("a line of %d fields is not that of a process", len(fields))
	}
	var sum time.Duration
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("processor time of a process: %w", err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}
