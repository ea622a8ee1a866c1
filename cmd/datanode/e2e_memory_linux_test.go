package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// peakMemory is the most memory in bytes that a running process has had so far. What wait4 says of one that has ended
// is no substitute: its ru_maxrss counts the memory of the process that started it.
func peakMemory(t *testing.T, cmd *exec.Cmd) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	clitest.Must(t, err)
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	line, _, _ := strings.Cut(rest, "kB")
	n, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	clitest.Must(t, err)
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
			if peak := peakMemory(t, p.cmd); peak > most {
				t.Errorf("%s, %s has had %d MiB, want %d at most", when, p.id, peak/mib, most/mib)
			} else {
				t.Logf("%s, %s has had %d MiB", when, p.id, peak/mib)
			}
		}
	}

	cmd := datanode("put", "--addr", processes[0].addr, "--extent-bytes", "48Mi", "-")
	var sender int64
	cmd.Stdin = io.MultiReader(io.LimitReader(endless{}, piped), atEnd(func() { sender = peakMemory(t, cmd) }))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("put of a pipe: %v", err)
	}
	ls, err := wire.ParseLocators(strings.TrimSpace(string(out)))
	if err != nil || len(ls) != 3 || ls.Length() != piped {
		t.Errorf("stored as %s: %v", out, err)
	}
	if sender > most {
		t.Errorf("the client has had %d MiB, want %d at most", sender/mib, most/mib)
	} else {
		t.Logf("the client has had %d MiB", sender/mib)
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

// atEnd is an empty reader that calls the function when it is read.
type atEnd func()

func (f atEnd) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}

// endless is zeros.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
