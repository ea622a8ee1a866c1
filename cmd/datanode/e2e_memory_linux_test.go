package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// peak is the most memory that a process has had so far.
func (p *nodeProcess) peak() int64 {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	clitest.Must(p.t, err)
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	line, _, _ := strings.Cut(rest, "kB")
	n, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	clitest.Must(p.t, err)
	return n << 10
}

// A put from a pipe needs little memory in any process, however long it is; and a node that is brought more at once
// than it may hold for its clients has them come back, until all is stored.
func TestMemoryOfPuts(t *testing.T) {
	const (
		mib   = 1 << 20
		piped = 128 * mib
		puts  = 128
		most  = 100 * mib // of a process, which has 30 without doing anything
	)
	processes := newProcesses(t, 3, 3)
	for _, p := range processes {
		p.enter = append(p.enter, "--client-memory", "16Mi")
		p.start()
	}
	newE2E(t, processes).nodesUp(t, 3)
	check := func(when string) {
		for _, p := range processes {
			if peak := p.peak(); peak > most {
				t.Errorf("%s, %s has had %d MiB, want %d at most", when, p.id, peak/mib, most/mib)
			} else {
				t.Logf("%s, %s has had %d MiB", when, p.id, peak/mib)
			}
		}
	}

	cmd := datanode("put", "--addr", processes[0].addr, "--extent-bytes", "48Mi", "-")
	cmd.Stdin = io.LimitReader(endless{}, piped)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("put of a pipe: %v", err)
	}
	ls, err := wire.ParseLocators(strings.TrimSpace(string(out)))
	if err != nil || len(ls) != 3 || ls.Length() != piped {
		t.Errorf("stored as %s: %v", out, err)
	}
	if peak := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10; peak > most {
		t.Errorf("the client has had %d MiB, want %d at most", peak/mib, most/mib)
	}
	check("after a put of a pipe")

	c := client.New(client.Options{Addrs: []string{processes[0].addr}, RetryFor: 5 * time.Minute})
	defer c.Close()
	p := make([]byte, mib)
	var wg sync.WaitGroup
	for range puts {
		wg.Go(func() {
			if _, err := c.Put(t.Context(), bytes.NewReader(p), client.PutOptions{Length: mib}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	check(fmt.Sprintf("after %d puts at once", puts))
}

// endless is zeros.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
