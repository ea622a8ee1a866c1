package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// disasterTime bounds one page of docs/disasters.md. Nothing waits for it to pass.
const disasterTime = 10 * time.Minute

// TestDisasters runs every page of docs/disasters.md as it is printed, each on a cell of its own. What is printed after
// an exclamation mark must fail, all else succeed.
func TestDisasters(t *testing.T) {
	if testing.Short() {
		t.Skip("starts some forty processes; -short leaves that to the full run")
	}
	pages := playedPages(t, "../../docs/disasters.md")
	if len(pages) < 10 {
		t.Fatalf("docs/disasters.md has %d pages with commands", len(pages))
	}
	cell := pages[0]
	for _, p := range pages[1:] {
		t.Run(strings.ReplaceAll(p.title, " ", "-"), func(t *testing.T) { play(t, cell, p) })
	}
}

// TestInspection plays the questions of docs/inspection.md on one cell, one after the other.
func TestInspection(t *testing.T) {
	pages := playedPages(t, "../../docs/inspection.md")
	if len(pages) < 16 {
		t.Fatalf("docs/inspection.md has %d pages with commands", len(pages))
	}
	all := playedPage{title: "questions"}
	for _, p := range pages[1:] {
		all.commands = append(all.commands, p.commands...)
	}
	play(t, pages[0], all)
}

type playedPage struct {
	title    string
	commands []string
}

// playedPages are the headings of a document with commands under them; the first makes the cell.
func playedPages(t *testing.T, path string) []playedPage {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var pages []playedPage
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if title, ok := strings.CutPrefix(line, "## "); ok {
			pages = append(pages, playedPage{title: title})
		}
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			pages[len(pages)-1].commands = append(pages[len(pages)-1].commands, command)
		}
	}
	for _, p := range pages {
		if len(p.commands) == 0 {
			t.Errorf("page %q has no commands", p.title)
		}
	}
	return pages
}

func play(t *testing.T, cell, page playedPage) {
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	program := fmt.Sprintf("#!/bin/sh\nexport %s=1\nexec %s -test.run='^TestActAsDatanode$' -- \"$@\"\n", actEnv,
		shellQuote(os.Args[0]))
	if err := os.WriteFile(filepath.Join(bin, "datanode"), []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	script := "set -euo pipefail\ntrap 'kill -9 $(jobs -p) 2>/dev/null || true' EXIT\n"
	for _, c := range append(append([]string{}, cell.commands...), page.commands...) {
		script += "echo " + shellQuote("$ "+c) + "\n" + mustHold(c) + "\n"
	}
	// The ports of the document may be in use; these are as many, and as easily told apart from all else in it.
	script = strings.ReplaceAll(script, "740", fmt.Sprint(freePorts(t, 20)/10+1))
	ctx, cancel := context.WithTimeout(t.Context(), disasterTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	began := time.Now()
	out, err := cmd.CombinedOutput()
	t.Logf("%s: %.1f s\n%s", page.title, time.Since(began).Seconds(), out)
	if err != nil {
		logs, globErr := filepath.Glob(filepath.Join(dir, "*.log"))
		for _, log := range logs {
			tail, readErr := os.ReadFile(log)
			t.Logf("%s (%v, %v):\n%s", filepath.Base(log), globErr, readErr, tail[max(0, len(tail)-4000):])
		}
		t.Fatalf("%v", err)
	}
}

// mustHold is a command that ends the script if it fails. The shell lets those pass which are negated or
// followed by another in a list.
func mustHold(c string) string {
	if strings.HasSuffix(c, "&") || strings.HasSuffix(c, "}") || strings.Contains(c, "export ") ||
		strings.Contains(c, "=$(") {
		return c
	}
	if strings.HasPrefix(c, "!") || strings.Contains(c, "&&") {
		return c + " || { echo 'this was not to be'; exit 1; }"
	}
	return c
}
