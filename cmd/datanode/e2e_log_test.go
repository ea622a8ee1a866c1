package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/wire"
)

// fileSums is a hash of every file under dir.
func fileSums(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	clitest.Must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s %x\n", path, sha256.Sum256(raw))
		return err
	}))
	return b.String()
}

// folderCommand runs a command line that asks no node.
func folderCommand(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := datanode(args...)
	var out, notes bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &notes
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), notes.String()
}

// What a stopped node's folder says of the log is what the node said while it ran, whatever the filter; a folder in use
// is refused, a damaged one is read around, and none is changed.
func TestLogOfAStoppedNode(t *testing.T) {
	p := newProcesses(t, 1, 1)[0]
	p.start()
	r := newE2E(t, []*nodeProcess{p})
	r.nodesUp(t, 1)
	for _, args := range [][]string{
		{"settings", "set", "replicas", "1"}, {"put", "cell_test.go"}, {"op", "submit", "seal", "--extent", "1"},
		{"put", "layers_test.go"}, {"rm", "1", "--yes"}, {"settings", "set", "replicas", "3"},
	} {
		if code, _ := command(t, p.addr, args...); code != exit.Done {
			t.Fatalf("%s: exit code %d", args, code)
		}
	}
	code, _, stderr := folderCommand(t, "log", "ls", "--dir", p.dir)
	if want := fmt.Sprintf("in use by process %d (", p.cmd.Process.Pid); code != exit.Refused ||
		!strings.Contains(stderr, want) || strings.Count(stderr, "\n") != 1 {
		t.Errorf("the folder of a running node: exit code %d, %q; want %q", code, stderr, want)
	}
	questions := [][]string{
		{"log", "ls", "--from", "1"}, {"log", "ls", "--reverse", "--to", "30", "--from", "2"}, {"log", "ls", "--extent", "1"},
		{"log", "ls", "--kind", "create,delete"}, {"log", "ls", "--type", "finish"}, {"log", "ls", "--about", "n1"},
		{"log", "ls", "--state", "done"}, {"log", "ls", "--limit", "3", "--type", "admit"}, {"log", "stats", "--from", "1"},
	}
	told := make([]string, len(questions))
	for i, q := range questions {
		if code, told[i] = command(t, p.addr, append(q, "-o", "jsonl")...); code != exit.Done || told[i] == "" {
			t.Fatalf("%s: exit code %d, %q", q, code, told[i])
		}
	}
	p.signal(syscall.SIGTERM)
	p.wait()
	before := fileSums(t, p.dir)
	for i, q := range questions {
		code, read, stderr := folderCommand(t, append(q, "-o", "jsonl", "--dir", p.dir)...)
		if code != exit.Done || read != told[i] {
			t.Errorf("%s --dir: exit code %d, %s\nthe folder says\n%s\nthe node said\n%s", q, code, stderr, read, told[i])
		}
	}
	for _, q := range [][]string{{"log", "status"}, {"log", "verify"}, {"log", "doctor"}} {
		if code, out, stderr := folderCommand(t, append(q, "--dir", p.dir)...); code != exit.Done {
			t.Errorf("%s --dir: exit code %d\n%s%s", q, code, out, stderr)
		}
	}
	if after := fileSums(t, p.dir); after != before {
		t.Errorf("reading has changed the folder from\n%s\nto\n%s", before, after)
	}
	lookedBack(t, p.dir, told[0])
	exportedLog(t, p.dir)
	damagedLog(t, p.dir, told[0])
}

// lookedBack tells what two entries have different, and shows the bytes of one.
func lookedBack(t *testing.T, dir, entries string) {
	t.Helper()
	var sets []uint64 // of replicas, to 1 and back to 3
	for line := range strings.Lines(entries) {
		var e wire.LogEntry
		clitest.Must(t, json.Unmarshal([]byte(line), &e))
		if len(e.Commands) == 1 && e.Commands[0].Type == "setting" {
			sets = append(sets, e.Index)
		}
	}
	if len(sets) != 2 {
		t.Fatalf("replicas is set by entries %v", sets)
	}
	diff := func(from, to uint64) string {
		code, out, stderr := folderCommand(t, "log", "replay", "--diff", fmt.Sprint(from), fmt.Sprint(to), "--dir", dir,
			"-o", "jsonl")
		if code != exit.Done {
			t.Fatalf("replay --diff %d %d: exit code %d, %s", from, to, code, stderr)
		}
		return out
	}
	const changed = `{"what":"setting","before":"replicas 3","after":"replicas 1"}` + "\n" +
		`{"what":"setting","before":"min-replicas 2","after":"min-replicas 1"}` + "\n" // which follows it
	if out := diff(sets[0]-1, sets[0]); out != changed {
		t.Errorf("what entry %d changed: %s", sets[0], out)
	}
	if out := diff(sets[0]-1, sets[1]); strings.Contains(out, `"setting"`) || !strings.Contains(out, `"what":"extent"`) {
		t.Errorf("what entries %d to %d changed: %s", sets[0], sets[1], out)
	}
	code, out, _ := folderCommand(t, "log", "replay", "--diff", "5", "4", "--dir", dir)
	if code != exit.Usage || out != "" {
		t.Errorf("from a later entry to an earlier one: exit code %d, %s", code, out)
	}
	code, out, stderr := folderCommand(t, "log", "show", fmt.Sprint(sets[0]), "--raw", "--dir", dir)
	if code != exit.Done || !strings.Contains(out, "replicas 3 -> replicas 1\n") ||
		!strings.Contains(out, "\n00000000  86 aa") {
		t.Errorf("show --raw: exit code %d, %s%s", code, out, stderr)
	}
	code, out, _ = folderCommand(t, "log", "show", fmt.Sprint(sets[0]), "--raw", "--dir", dir, "-o", "json")
	record := `"raw": "86aa` + hex.EncodeToString([]byte("AppendedAt"))
	if code != exit.Done || !strings.Contains(out, record) {
		t.Errorf("show --raw -o json: exit code %d, %s; want %s", code, out, record)
	}
}

// damagedLog reads a log one byte of which is not what it was.
func damagedLog(t *testing.T, dir, whole string) {
	t.Helper()
	path := filepath.Join(dir, "log", "log.db")
	raw, err := os.ReadFile(path)
	clitest.Must(t, err)
	flipped := 0
	for i := range raw { // in old copies of the page too
		if bytes.HasPrefix(raw[i:], []byte("seal: writing")) {
			raw[i] ^= 1
			flipped++
		}
	}
	if flipped == 0 {
		t.Fatal("the reason of a seal is not in the log")
	}
	clitest.Must(t, os.WriteFile(path, raw, 0o600))
	if code, out, _ := folderCommand(t, "log", "verify", "--dir", dir); code != exit.Corrupt {
		t.Errorf("verify of a damaged log: exit code %d, want %d\n%s", code, exit.Corrupt, out)
	}
	if code, out, stderr := folderCommand(t, "log", "status", "--dir", dir); code != exit.Corrupt ||
		!strings.Contains(stderr, "damaged") {
		t.Errorf("status of a damaged log: exit code %d, want %d\n%s%s", code, exit.Corrupt, out, stderr)
	}
	if code, out, stderr := folderCommand(t, "log", "doctor", "--dir", dir); code != exit.Corrupt ||
		!strings.Contains(out, "\n1. damaged") || !strings.Contains(out, ": entries cannot be read; ") {
		t.Errorf("doctor of a damaged log: exit code %d, want %d\n%s%s", code, exit.Corrupt, out, stderr)
	}
	code, out, stderr := folderCommand(t, "log", "ls", "--from", "1", "-o", "jsonl", "--dir", dir)
	if code != exit.Done {
		t.Fatalf("ls of a damaged log: exit code %d, %s", code, stderr)
	}
	same, bad := 0, 0
	known := strings.Split(whole, "\n")
	for line := range strings.Lines(out) {
		switch line = strings.TrimSuffix(line, "\n"); {
		case strings.Contains(line, `"type":"unreadable: `):
			bad++
		case strings.Contains(whole, line+"\n"):
			same++
		default:
			t.Errorf("an entry that never was: %s", line)
		}
	}
	if bad == 0 || same+bad != len(known)-1 {
		t.Errorf("%d entries as they were and %d unreadable, of %d", same, bad, len(known)-1)
	}
}

// exportedLog holds an export of a log against what was listed, and reads it as the document's program does.
func exportedLog(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log.jsonl")
	code, out, stderr := folderCommand(t, "log", "export", "--dir", dir)
	if code != exit.Done {
		t.Fatalf("export: exit code %d, %s", code, stderr)
	}
	clitest.Must(t, os.WriteFile(path, []byte(out), 0o600))
	for _, q := range [][]string{
		{"log", "ls", "--from", "1"}, {"log", "ls", "--reverse", "--to", "9"}, {"log", "ls", "--kind", "delete"},
		{"log", "stats"}, {"log", "show", "5"},
	} {
		_, fromFile, _ := folderCommand(t, append(q, "-o", "jsonl", "--file", path)...)
		_, fromFolder, _ := folderCommand(t, append(q, "-o", "jsonl", "--dir", dir)...)
		fromFolder, _, _ = strings.Cut(fromFolder, `,"changes":`)
		if fromFile == "" || !strings.HasPrefix(fromFile, strings.TrimSuffix(fromFolder, "\n")) {
			t.Errorf("%s: the file says\n%s\nthe folder\n%s", q, fromFile, fromFolder)
		}
	}
	cut := filepath.Join(t.TempDir(), "cut.jsonl")
	clitest.Must(t, os.WriteFile(cut, []byte(out[:len(out)*2/3]), 0o600))
	for _, c := range []struct {
		file string
		code int
		says string
	}{
		{cut, exit.Corrupt, "line"}, {"layers_test.go", exit.Corrupt, "first line"},
		{path + "x", exit.NotFound, "no such file"},
	} {
		code, _, stderr := folderCommand(t, "log", "ls", "--from", "1", "--file", c.file)
		if code != c.code || !strings.Contains(stderr, c.says) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("ls --file %s: exit code %d, %q; want %d and a line with %q", c.file, code, stderr, c.code, c.says)
		}
	}
	for file, want := range map[string]int{path: exit.Done, cut: exit.Corrupt} {
		if code, out, _ := folderCommand(t, "log", "doctor", "--file", file); code != want {
			t.Errorf("doctor --file %s: exit code %d, want %d\n%s", file, code, want, out)
		}
		if code, out, _ := folderCommand(t, "log", "verify", "--file", file); code != want {
			t.Errorf("verify --file %s: exit code %d, want %d\n%s", file, code, want, out)
		}
	}
	if _, err := exec.LookPath("python3"); err != nil {
		t.Logf("the reader of docs/log-export.md was not run: %v", err) // .ci/run sees to it that it is
		return
	}
	document, err := os.ReadFile("../../docs/log-export.md")
	clitest.Must(t, err)
	_, program, _ := strings.Cut(string(document), "```python\n")
	program, _, _ = strings.Cut(program, "```")
	got, err := exec.Command("python3", "-c", program, path).CombinedOutput()
	if err != nil || !strings.Contains(string(got), "admit") {
		t.Errorf("the reader of docs/log-export.md: %v\n%s", err, got)
	}
	if got, err := exec.Command("python3", "-c", program, cut).CombinedOutput(); err == nil {
		t.Errorf("the reader took a file that was cut:\n%s", got)
	}
}
