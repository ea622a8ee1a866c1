package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/datanode/datanode/wire"
)

const (
	jsClientDir = "../../clients/js"
	// jsLimit bounds npm ci and the JavaScript tests. Nothing waits for it to pass.
	jsLimit = 10 * time.Minute
)

// TestJavaScriptClient runs the tests of clients/js: the golden frames, a peer that breaks the rules, and
// puts, gets, lists and deletes on a real cell. That client is written from docs/wire.md alone, and so
// shows that the document is enough.
//
// Go is all that is needed to test this module, so without Node.js the test is skipped; but not where CI
// is set, as a test that no machine runs proves nothing.
func TestJavaScriptClient(t *testing.T) {
	if testing.Short() {
		t.Skip("installs a package and runs Node.js")
	}
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			needJavaScript(t, tool)
		}
	}
	dir := copyJavaScriptClient(t)
	runJavaScript(t, dir, nil, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	golden, err := filepath.Abs("../../wire/testdata/frames")
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"DATANODE_ADDR=" + startCell(t, 3), "DATANODE_FRAMES=" + golden}
	runJavaScript(t, dir, env, "node", "--test") // all in test/
}

func needJavaScript(t *testing.T, tool string) {
	t.Helper()
	const what = "%s is not on this machine: install Node.js 20 or newer with npm (apt install nodejs npm) to " +
		"test clients/js"
	if os.Getenv("CI") != "" {
		t.Fatalf(what, tool)
	}
	t.Skipf(what+"; skipped since the environment has no CI=true, with which this fails", tool)
}

// copyJavaScriptClient copies the client to a folder of the test's own, so that what npm installs is gone
// after it, and nothing that was installed by hand is taken for what the lock file names.
func copyJavaScriptClient(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, part := range []string{"lib", "test"} {
		if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join(jsClientDir, part))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"package.json", "package-lock.json", "cli.mjs"} {
		b, err := os.ReadFile(filepath.Join(jsClientDir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// runJavaScript runs a command to its end, and fails the test with what it said if that is bad.
func runJavaScript(t *testing.T, dir string, env []string, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), jsLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	t.Logf("%s %v:\n%s", name, args, out)
}

// TestGoldenBodies holds the bodies in the golden frames to the structs: what a client in another language
// writes by the tables of docs/wire.md is what this program reads and writes.
func TestGoldenBodies(t *testing.T) {
	golden, err := os.ReadFile("../../wire/testdata/frames")
	if err != nil {
		t.Fatal(err)
	}
	structs := map[string]any{
		"kind=hello":              &wire.Hello{},
		"kind=request op=2 id=11": &wire.ReadRequest{}, "kind=response op=2 id=11": &wire.ReadReply{},
		"kind=response op=1 id=9": &wire.Locator{}, "kind=request op=1 id=9": &wire.PutRequest{},
		"kind=request op=10": &wire.SessionRequest{}, "kind=response op=10": &wire.SessionReply{},
		"kind=request op=11": &wire.SubmitRequest{}, "kind=response op=11": &wire.SubmitReply{},
		"kind=request op=15": &wire.ExtentsRequest{}, "kind=response op=15": &wire.ExtentsReply{},
		"kind=request op=19": &wire.WaitRequest{},
	}
	for start, v := range structs {
		line := regexp.MustCompile(`(?m)^frame ` + start + `\b.* body=([0-9a-f]+)`).FindSubmatch(golden)
		if line == nil {
			t.Errorf("no golden frame %s has a body", start)
			continue
		}
		body, err := hex.DecodeString(string(line[1]))
		if err != nil {
			t.Fatal(err)
		}
		if err := wire.Unmarshal(body, v); err != nil {
			t.Errorf("%s: %v", start, err)
			continue
		}
		again, err := wire.Marshal(v)
		if err != nil || !bytes.Equal(again, body) {
			t.Errorf("%s: %+v is written as %x, %v; want %x", start, v, again, err, body)
		}
	}
}
