package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/logs"
	"github.com/datanode/datanode/wire"
)

// Snapshots of nodes that run come over the wire as they are on the disk, also by way of another node; what two of them
// have different is told, and what a running node answers is what its folder says.
func TestSnapshotsOfNodes(t *testing.T) {
	all := newProcesses(t, 3, 3)
	for _, p := range all {
		p.start()
	}
	r := newE2E(t, all)
	r.nodesUp(t, 3)
	dir, addr := t.TempDir(), all[0].addr
	at := func(name string) string { return filepath.Join(dir, name) }
	code, out, notes := commandNotes(t, addr, "log", "snapshot", "ls", "-o", "jsonl", "--node", "n1")
	if code != exit.Done || out != "" || !strings.Contains(notes, "n1 has no snapshot yet") {
		t.Errorf("before there are any: exit code %d", code)
	}
	if code, _, notes := commandNotes(t, addr, "log", "snapshot", "save", at("none")); code != exit.NotFound ||
		!strings.Contains(notes, "log snapshot take has it take one") {
		t.Errorf("save before there are any: exit code %d, %s", code, notes)
	}
	take := func(file string) {
		t.Helper()
		for _, args := range [][]string{{"take"}, {"save", at(file)}} {
			code, _ := command(t, addr, append([]string{"log", "snapshot", args[0], "--node", "n2"}, args[1:]...)...)
			if code != exit.Done {
				t.Fatalf("%s: exit code %d", args, code)
			}
		}
	}
	take("a.snap")
	if code, _ := command(t, addr, "settings", "set", "repair-delay", "7m"); code != exit.Done {
		t.Fatalf("exit code %d", code)
	}
	// n2 may not have applied it yet when it is asked for its snapshot.
	if code, _ := command(t, addr, "log", "tail", "-n", "1", "--node", "n2"); code != exit.Done {
		t.Fatalf("exit code %d", code)
	}
	take("b.snap")
	code, out, _ = commandNotes(t, addr, "log", "snapshot", "diff", at("a.snap"), at("b.snap"), "-o", "jsonl")
	const changed = `{"what":"setting","before":"repair-delay 10m0s","after":"repair-delay 7m0s"}`
	if code != exit.Done || !strings.Contains(out, changed) {
		t.Errorf("diff: exit code %d, %s", code, out)
	}

	_, told := command(t, addr, "log", "snapshot", "ls", "-o", "jsonl", "--node", "n2")
	_, shown := command(t, addr, "log", "snapshot", "show", "-o", "json", "--node", "n2")
	for _, p := range all {
		p.signal(syscall.SIGTERM)
	}
	for _, p := range all {
		p.wait()
	}
	snapshotsOfAFolder(t, all[1].dir, told, shown, at("b.snap"))
	readerOfSnapshots(t, at("b.snap"))
}

func snapshotsOfAFolder(t *testing.T, dir, told, shown, saved string) {
	t.Helper()
	for what, want := range map[string]string{"ls": told, "show": shown} {
		output := map[string]string{"ls": "jsonl", "show": "json"}[what]
		code, out, stderr := folderCommand(t, "log", "snapshot", what, "--dir", dir, "-o", output)
		if code != exit.Done || out != want {
			t.Errorf("%s --dir: exit code %d, %s\n%s\nthe node said\n%s", what, code, stderr, out, want)
		}
	}
	lines := strings.Split(strings.TrimSpace(told), "\n")
	var newest wire.LogSnapshot
	clitest.Must(t, json.Unmarshal([]byte(lines[len(lines)-1]), &newest))
	state := filepath.Join(dir, "log", "snapshots", newest.ID, "state.bin")
	have, err := os.ReadFile(state)
	clitest.Must(t, err)
	want, err := os.ReadFile(saved)
	clitest.Must(t, err)
	if string(have) != string(want) || uint64(len(have)) != newest.Bytes {
		t.Errorf("what was saved has %d bytes, and is not the %d of the folder", len(want), len(have))
	}
	code, out, _ := folderCommand(t, "log", "snapshot", "inspect", saved, "-o", "json")
	var c logs.Contents
	clitest.Must(t, json.Unmarshal([]byte(out), &c))
	if code != exit.Done || !c.OK || c.Applied != newest.Applied || c.Chain != newest.Chain || len(c.Voters) != 3 {
		t.Errorf("inspect: exit code %d, %+v, want %+v", code, c, newest)
	}
	have[len(have)/2] ^= 1
	clitest.Must(t, os.WriteFile(state, have, 0o600))
	for _, args := range [][]string{{"ls"}, {"show", newest.ID}} {
		code, _, stderr := folderCommand(t, append([]string{"log", "snapshot", args[0], "--dir", dir}, args[1:]...)...)
		if code != exit.Corrupt || !strings.Contains(stderr, newest.ID+" is damaged") {
			t.Errorf("%s of a damaged one: exit code %d, %s", args, code, stderr)
		}
	}
	code, _, stderr := folderCommand(t, "log", "snapshot", "show", "--dir", dir)
	if code != exit.Done || !strings.Contains(stderr, newest.ID+" is newer") {
		t.Errorf("show of the one before a damaged one: exit code %d, %s", code, stderr)
	}
}

// readerOfSnapshots has the reader of the document read a file.
func readerOfSnapshots(t *testing.T, path string) {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Logf("the reader of docs/snapshot-format.md was not run: %v", err) // .ci/run sees to it that it is
		return
	}
	document, err := os.ReadFile("../../docs/snapshot-format.md")
	clitest.Must(t, err)
	_, program, _ := strings.Cut(string(document), "```python\n")
	program, _, _ = strings.Cut(program, "```")
	got, err := exec.Command("python3", "-c", program, path).CombinedOutput()
	if err != nil || !strings.Contains(string(got), "records") {
		t.Errorf("the reader of docs/snapshot-format.md: %v\n%s", err, got)
	}
	whole, err := os.ReadFile(path)
	clitest.Must(t, err)
	clitest.Must(t, os.WriteFile(path, whole[:len(whole)-3], 0o600))
	if got, err := exec.Command("python3", "-c", program, path).CombinedOutput(); err == nil {
		t.Errorf("the reader took a snapshot that was cut:\n%s", got)
	}
}
