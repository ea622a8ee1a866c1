// Package clitest is what tests of the command line share. Its functions are for one test each.
package clitest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/policyhost"
	"github.com/datanode/datanode/plugins"
	"go.uber.org/goleak"
)

// Watcher is a stderr that does something when a text appears in it.
type Watcher struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
	Want string
	Then func()
}

func (w *Watcher) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(p)
	if w.Then != nil && strings.Contains(w.text.String(), w.Want) {
		w.Then()
		w.Then = nil
	}
	return len(p), nil
}

func (w *Watcher) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// NoEnv is an environment without variables.
func NoEnv(string) string { return "" }

// Must ends the test with an error.
func Must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ExtentPath is where a node with this data folder keeps an extent.
func ExtentPath(dir string, id uint64) string {
	return filepath.Join(dir, "store", "extents", fmt.Sprintf("%02x", byte(id)), fmt.Sprintf("%d.ext", id))
}

// CommandLine is a program as its main runs it, but for signals.
type CommandLine func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer,
	env func(string) string) int

// Tell runs a command line as a person would.
func (run CommandLine) Tell(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, notes bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), &out, &notes, NoEnv)
	return code, out.String(), notes.String()
}

// Told runs a command line that must succeed with -o json, and reads what it says into v.
func (run CommandLine) Told(t *testing.T, v any, args ...string) {
	t.Helper()
	code, out, notes := run.Tell(t, append(args, "-o", "json")...)
	if code != exit.Done {
		t.Fatalf("%q: exit code %d: %s%s", args, code, out, notes)
	}
	if err := json.Unmarshal([]byte(out), v); err != nil {
		t.Fatalf("%q: %v in %s", args, err, out)
	}
}

// Main runs the tests of a package, and makes its test program the child of its own policy hosts.
func Main(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == policyhost.ChildCommand {
		os.Exit(plugins.ChildMain(os.Stdin, os.Stdout))
	}
	goleak.VerifyTestMain(m)
}
