package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
)

// An interrupt detaches from a decommission that cannot end. The cell goes on with it, and says so.
func TestInterruptDetaches(t *testing.T) {
	addr := startCell(t, 3)
	cli := func(ctx context.Context, stderr *clitest.Watcher, args ...string) (int, string) {
		var stdout bytes.Buffer
		code := runContext(ctx, append(args, "--addr", addr), strings.NewReader("x"), &stdout, stderr, clitest.NoEnv)
		return code, stdout.String()
	}
	if code, out := cli(t.Context(), &clitest.Watcher{}, "put", "-"); code != exit.Done {
		t.Fatalf("put ended with %d: %s", code, out)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	stderr := &clitest.Watcher{Want: "blocked: ", Then: interrupt}
	code, _ := cli(ctx, stderr, "node", "decommission", "n3", "--yes", "--force")
	if code != exit.Interrupted || !strings.Contains(stderr.String(), "look again with: datanode op show") {
		t.Fatalf("exit code %d, want %d and how to look again; it said:\n%s", code, exit.Interrupted, stderr)
	}
	code, out := cli(t.Context(), &clitest.Watcher{}, "op", "ls", "--open", "-o", "jsonl")
	if code != exit.Done || !strings.Contains(out, `"kind":"decommission"`) {
		t.Fatalf("exit code %d; the decommission should still be open:\n%s", code, out)
	}
	late := &clitest.Watcher{}
	code, _ = cli(t.Context(), late, "node", "decommission", "n3", "--yes", "--force", "--timeout", "50ms")
	if code != exit.Failed && code != exit.Unavailable {
		t.Fatalf("exit code %d, want %d or, if the cell was slow, %d:\n%s", code, exit.Failed, exit.Unavailable, late)
	}
}

// An address in use is reported in one line, before anything is started.
func TestDevAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var stdout bytes.Buffer
	stderr := &clitest.Watcher{}
	code := runContext(t.Context(), []string{"dev", "--listen", l.Addr().String(), "--http", ""}, strings.NewReader(""),
		&stdout, stderr, clitest.NoEnv)
	if want := l.Addr().String() + " is in use"; code != exit.Failed || !strings.Contains(stderr.String(), want) ||
		strings.Count(stderr.String(), "\n") != 1 {
		t.Fatalf("exit code %d, %q; want %d and one line with %q", code, stderr, exit.Failed, want)
	}
}

// A node that is served says when it is ready, drains when it is interrupted, and finds its cell again
// from its folder alone.
func TestServeAndAgain(t *testing.T) {
	dir := t.TempDir()
	addr := fmt.Sprintf("127.0.0.1:%d", freePorts(t, 1))
	config := filepath.Join(dir, "n1.json")
	if err := os.WriteFile(config,
		[]byte(`{"id":"n1","listen":"`+addr+`","log-level":"OFF","bootstrap":["n1=`+addr+`"],"dir":"`+
			filepath.Join(dir, "never-used")+`"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(name string) string {
		return map[string]string{"DATANODE_DIR": filepath.Join(dir, "data")}[name]
	}
	serve := func(args ...string) {
		t.Helper()
		ctx, interrupt := context.WithCancel(t.Context())
		defer interrupt()
		stderr := &clitest.Watcher{Want: "n1 is ready at " + addr, Then: interrupt}
		code := runContext(ctx, append([]string{"serve"}, args...), strings.NewReader(""), &bytes.Buffer{}, stderr, env)
		if code != exit.Done || !strings.Contains(stderr.String(), "is ready") {
			t.Fatalf("serve %v ended with %d: %s", args, code, stderr)
		}
	}
	serve("--config", config)
	serve("--id", "n1", "--listen", addr, "--log-level", "OFF")
	if _, err := os.Stat(filepath.Join(dir, "never-used")); err == nil {
		t.Error("the file's dir was used, but the environment names another")
	}
}

// dev without --dir leaves nothing behind.
func TestDevRemovesItsData(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	stderr := &clitest.Watcher{Want: "Interrupt to stop", Then: interrupt}
	code := runContext(ctx, []string{"dev", "--nodes", "1", "--listen", "127.0.0.1:0", "--http", ""},
		strings.NewReader(""), &bytes.Buffer{}, stderr, clitest.NoEnv)
	if code != exit.Done {
		t.Fatalf("dev ended with %d: %s", code, stderr)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Fatalf("%v, left behind: %v", err, left)
	}
}
