package main

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
)

// Files are put through one of three nodes, which is killed while they are: each of them is stored all the same, by
// way of nodes that the command was not given, and can be read.
func TestPutOutlivesItsNode(t *testing.T) {
	processes := newProcesses(t, 3, 3)
	for _, p := range processes {
		p.start()
	}
	r := newE2E(t, processes)
	r.nodesUp(t, 3)

	const files, bytesEach = 12, 3 << 20
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	content := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	args := []string{"put", "-o", "jsonl", "--addr", processes[0].addr}
	want := map[string][]byte{}
	for i := range files {
		p := make([]byte, bytesEach)
		_, _ = content.Read(p) // it never fails
		name := filepath.Join(t.TempDir(), "x"+strconv.Itoa(i))
		clitest.Must(t, os.WriteFile(name, p, 0o600))
		args, want[name] = append(args, name), p
	}
	stdout := &clitest.Watcher{Want: "locator", Then: func() { processes[0].signal(syscall.SIGKILL) }}
	stderr := &clitest.Watcher{}
	if code := runContext(t.Context(), args, strings.NewReader(""), stdout, stderr, clitest.NoEnv); code != exit.Done {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	t.Logf("it said:\n%s%s", stdout, stderr)
	for line := range strings.Lines(stdout.String()) {
		var s stored
		clitest.Must(t, json.Unmarshal([]byte(line), &s))
		out := filepath.Join(t.TempDir(), "out")
		if code, _ := command(t, processes[1].addr, "get", s.Locator, "-f", out); code != exit.Done {
			t.Fatalf("get of %s: exit code %d", s.Locator, code)
		}
		got, err := os.ReadFile(out)
		clitest.Must(t, err)
		if !bytes.Equal(got, want[s.Name]) {
			t.Errorf("%s does not have the bytes of %s", s.Locator, s.Name)
		}
		delete(want, s.Name)
	}
	if len(want) > 0 {
		t.Errorf("%d files are not stored", len(want))
	}
}
