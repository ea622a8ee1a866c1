package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/datanode/datanode/cmd/datanode/internal/author"
	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/node/modules"
	"github.com/datanode/datanode/plugins"
)

// Whoever reads a module refuses one that is too large in the gate's own words, before it is read whole or sent.
func TestModuleTooLarge(t *testing.T) {
	if modules.MaxModuleBytes != plugins.MaxModuleBytes {
		t.Errorf("a node takes %d bytes, the gate %d", modules.MaxModuleBytes, plugins.MaxModuleBytes)
	}
	file := filepath.Join(t.TempDir(), "large.wasm")
	f, err := os.Create(file)
	clitest.Must(t, err)
	clitest.Must(t, f.Truncate(plugins.MaxModuleBytes+1))
	clitest.Must(t, f.Close())
	const want = "policy refused (too-large): more than 8388608 bytes: build without symbols"
	for _, command := range []string{"check", "bench", "load"} {
		if code, _, notes := tell(t, "policy", command, file); code != exit.Refused || !strings.Contains(notes, want) {
			t.Errorf("policy %s: exit code %d: %s", command, code, notes)
		}
	}
	code, out, _ := tell(t, "policy", "check", file, "-o", "json")
	var r author.Refused
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exit.Refused || r.Reason != plugins.TooLarge {
		t.Errorf("exit code %d, %v: %s", code, err, out)
	}
	clitest.Must(t, os.Truncate(file, plugins.MaxModuleBytes))
	if code, _, notes := tell(t, "policy", "check", file); code != exit.Refused || !strings.Contains(notes, "not-wasm") {
		t.Errorf("one of just that size: exit code %d: %s", code, notes)
	}
}

// What is wrong with a command line is said once, with what to do.
func TestPolicyUsage(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct {
		code int
		want string
		args []string
	}{
		{exit.Usage, "which cases for native? Name their files after it: datanode policy test native cases/*.txt",
			[]string{"test", "native"}},
		{exit.Usage, dir + " is a folder; name the files of cases in it: " + filepath.Join(dir, "*.txt"),
			[]string{"test", "native", dir}},
		{exit.NotFound, "datanode: open none.wasm: no such file", []string{"bench", "none.wasm"}},
	} {
		if code, _, notes := tell(t, append([]string{"policy"}, tc.args...)...); code != tc.code ||
			!strings.Contains(notes, tc.want) {
			t.Errorf("%q: exit code %d: %s; want %d, %s", tc.args, code, notes, tc.code, tc.want)
		}
	}
	_, _, notes := tell(t, "policy")
	at := 0
	for _, command := range []string{"new", "build", "check", "test", "bench", "load", "activate", "rollback", "ls",
		"show"} {
		next := strings.Index(notes, "  datanode policy "+command)
		if next <= at {
			t.Errorf("policy %s is not shown behind the one before:\n%s", command, notes)
		}
		at = next
	}
}
