package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// leastFaults is how many rows docs/faults.md has at least.
const leastFaults = 40

// faultRow is a row of docs/faults.md: fault, promise, what tests it, time until writable again.
var faultRow = regexp.MustCompile("^\\| ([^|]+) \\| ([^|]+) \\| `([^`|]+)` \\| ([^|]+) \\|$")

// Every fault that is documented has a test that exists.
func TestFaultsHaveTests(t *testing.T) {
	text, err := os.ReadFile("../../docs/faults.md")
	if err != nil {
		t.Fatal(err)
	}
	rows, seen := 0, map[string]bool{}
	for _, line := range strings.Split(string(text), "\n") {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| fault |") {
			continue
		}
		m := faultRow.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("no row of four cells, the third one a test: %s", line)
			continue
		}
		rows++
		if seen[m[1]] {
			t.Errorf("twice: %s", m[1])
		}
		seen[m[1]] = true
		checkFaultTests(t, strings.Fields(m[3]))
	}
	if rows < leastFaults {
		t.Errorf("%d faults, want %d at least", rows, leastFaults)
	}
}

// checkFaultTests looks for a script, or for the tests that are named behind their package.
func checkFaultTests(t *testing.T, test []string) {
	t.Helper()
	if len(test) == 1 {
		if _, err := os.Stat(filepath.Join("../..", test[0])); err != nil {
			t.Error(err)
		}
		return
	}
	var dir, source string
	for _, word := range test {
		switch {
		case strings.HasPrefix(word, "./"):
			dir, source = word, testSource(t, word)
		case !strings.Contains(source, "\nfunc "+word+"(t *testing.T) {"):
			t.Errorf("package %q has no test %s", dir, word)
		}
	}
}

// testSource is all that the test files of a package say.
func testSource(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}
