package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tourTime bounds the whole tour, the builds in it included. Nothing waits for it to pass, and a busy machine takes
// more than four minutes to build.
const tourTime = 15 * time.Minute

// TestReadmeTour runs the commands of README's tour as they are printed, in one shell, in the
// repository's root. Each must succeed; what they print is compared by eye, since it has times in it.
func TestReadmeTour(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program and a policy; -short leaves that to the full run")
	}
	commands := tourCommands(t)
	if len(commands) < 15 {
		t.Fatalf("README has %d commands in its tour: %q", len(commands), commands)
	}
	ctx, cancel := context.WithTimeout(t.Context(), tourTime)
	defer cancel()
	port := freePorts(t, 4)
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", tourScript(commands, port))
	cmd.Dir = cleanCheckout(t)
	cmd.Env = append(os.Environ(), fmt.Sprintf("DATANODE_ADDR=127.0.0.1:%d", port))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that a tour that hangs takes its cell with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	said := unborn(string(out))
	want := append(tourLocators(t), "exit code 3", "n3 is safe to remove", "gold-class-first",
		"26 cases in 2 files, all as wanted", "accepted", "Decided by policy my-policy 1", "10000: its class is urgent")
	for _, want := range want {
		if !strings.Contains(said, want) {
			t.Errorf("the tour does not print %q:\n%s", want, out)
		}
	}
}

func tourCommands(t *testing.T) []string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	inTour := false
	for line := range strings.Lines(string(readme)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "```"):
			inTour = line == "```console"
		case inTour && strings.HasPrefix(line, "$ "):
			commands = append(commands, strings.TrimPrefix(line, "$ "))
		}
	}
	return commands
}

// unborn is text without the births in its locators, which no two cells have in common.
func unborn(text string) string {
	return regexp.MustCompile(`(\+\d+)@[0-9a-f]{8}\b`).ReplaceAllString(text, "$1")
}

// tourLocators are the printed lines that name what was stored: but for the births the same on every machine, and
// wrong as soon as a file that the tour stores has changed.
func tourLocators(t *testing.T) []string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^\d+:\d+\+\d+\b.*$`).FindAllString(unborn(string(readme)), -1)
	if len(lines) < 3 {
		t.Fatalf("README shows the locators %q; want 3 at least", lines)
	}
	return lines
}

// freePorts finds that many consecutive ports of 127.0.0.1 that nobody listens on: the default ones may
// be those of a cell that somebody tries out beside the tests.
func freePorts(t *testing.T, count int) (first int) {
	t.Helper()
	for range 100 {
		first = 20_000 + rand.IntN(10_000)
		free := true
		for port := first; port < first+count && free; port++ {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if free = err == nil; free {
				l.Close()
			}
		}
		if free {
			return first
		}
	}
	t.Fatalf("no %d consecutive ports are free", count)
	return 0
}

// tourScript is the tour as one script, with the cell on ports from port on. The cell that it starts in the background
// is waited for, as a person would wait for its greeting, and stopped at the end.
func tourScript(commands []string, port int) string {
	var b strings.Builder
	for _, c := range commands {
		b.WriteString("echo " + shellQuote("$ "+c) + "\n")
		if strings.HasSuffix(c, "&") {
			dev := fmt.Sprintf("%s --listen 127.0.0.1:%d --http ''", strings.TrimSuffix(c, "&"), port)
			b.WriteString("exec 3< <(" + dev + " 2>&1)\ncell=$!\ntrap 'kill $cell; wait $cell || true' EXIT\n" +
				"while read -r line <&3; do echo \"$line\"; case $line in Interrupt*) break;; esac; done\n")
			continue
		}
		b.WriteString(c + " 2>&1\n")
	}
	return b.String()
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// cleanCheckout is a copy of the repository's files to run the tour in, so that it leaves nothing behind.
func cleanCheckout(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../..")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, ".git")); err != nil {
		t.Fatal(err)
	}
	return dir
}
