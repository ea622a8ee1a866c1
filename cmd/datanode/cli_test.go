package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/policyhost"
	"go.uber.org/goleak"
)

// TestMain makes this program the child of its own policy hosts and benchmarks.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == policyhost.ChildCommand ||
		len(os.Args) == 4 && os.Args[2] == benchServer || len(os.Args) > 2 && os.Args[1] == "serve" {
		os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
	}
	goleak.VerifyTestMain(m)
}

// TestCommandLine runs the files in testdata/cli. Their commands are:
//
//	file NAME       the input becomes a file in the working folder; then it is printed
//	ls              names the files in the working folder
//	cell nodes=N    start a cell with datanode dev, and talk to it from now on
//	run             each line of the input is a command line; what it prints follows, with stderr
//	                behind "! " and the exit code when it is not 0. NAME = LINE keeps the last word of
//	                stdout as $NAME instead of printing it. A line may end in < FILE for its stdin, or > FILE.
//
// Times, hashes, ports and the like are replaced by words, so that only what matters is compared.
func TestCommandLine(t *testing.T) {
	datadriven.Walk(t, filepath.Join("testdata", "cli"), func(t *testing.T, path string) {
		s := &script{t: t, dir: t.TempDir(), vars: map[string]string{}, addr: "127.0.0.1:1"}
		datadriven.RunTest(t, path, s.command)
	})
}

// script is one file of testdata/cli while it runs.
type script struct {
	t    *testing.T
	dir  string
	vars map[string]string
	addr string
}

func (s *script) command(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "file":
		if err := os.WriteFile(filepath.Join(s.dir, d.CmdArgs[0].Key), []byte(d.Input+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return d.Input
	case "ls":
		entries, err := os.ReadDir(s.dir)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return strings.Join(names, " ")
	case "cell":
		var nodes int
		d.ScanArgs(t, "nodes", &nodes)
		s.addr = startCell(s.t, nodes)
		return "ready"
	case "run":
		var out strings.Builder
		for _, line := range strings.Split(d.Input, "\n") {
			s.line(t, &out, line)
		}
		return out.String()
	}
	t.Fatalf("there is no command %q", d.Cmd)
	return ""
}

// wordsOf are the words of a line; what stands between single quotes is one.
func wordsOf(line string) (words []string) {
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	return words
}

// line runs one command line.
func (s *script) line(t *testing.T, out *strings.Builder, line string) {
	keep, rest, assigns := strings.Cut(line, " = ")
	if !assigns {
		rest = line
	}
	var stdin io.Reader = strings.NewReader("")
	var to string
	words := wordsOf(os.Expand(rest, func(name string) string { return s.vars[name] }))
	if n := len(words); n > 2 && (words[n-2] == "<" || words[n-2] == ">") {
		if words[n-2] == ">" {
			to = filepath.Join(s.dir, words[n-1])
		} else {
			data, err := os.ReadFile(filepath.Join(s.dir, words[n-1]))
			if err != nil {
				t.Fatal(err)
			}
			stdin = bytes.NewReader(data)
		}
		words = words[:n-2]
	}
	for i, w := range words {
		if name, ok := strings.CutPrefix(w, "@"); ok {
			words[i] = filepath.Join(s.dir, name)
		}
	}
	var stdout, stderr bytes.Buffer
	code := runContext(t.Context(), words, stdin, &stdout, &stderr, s.env)
	if to != "" {
		if err := os.WriteFile(to, stdout.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		stdout.Reset()
	}
	if assigns {
		words := append([]string{""}, strings.Fields(stdout.String())...)
		s.vars[keep] = words[len(words)-1]
		stdout.Reset()
	}
	fmt.Fprintf(out, "$ %s\n%s", line, s.scrub(stdout.String()))
	if stderr.Len() > 0 {
		for _, l := range strings.Split(strings.TrimSuffix(stderr.String(), "\n"), "\n") {
			if strings.Contains(l, "replicas left on") {
				continue // said while something waits, as often as it changes
			}
			fmt.Fprintln(out, strings.TrimSpace("! "+s.scrub(l)))
		}
	}
	if code != 0 {
		fmt.Fprintf(out, "exit %d\n", code)
	}
}

func (s *script) env(name string) string {
	if name == cli.EnvAddr {
		return s.addr
	}
	return ""
}

// scrub replaces what differs from run to run.
func (s *script) scrub(text string) string {
	text = s.names(text)
	text = strings.ReplaceAll(text, s.dir+string(filepath.Separator), "@")
	for _, r := range []struct{ pattern, with string }{
		{`\d{4}-\d\d-\d\dT[\d:.]+Z`, "TIME"},
		{`operation \d+(\.\d+)?`, "operation OP"},
		{`_micros": ?\d+`, `_micros":MICROS`},
		{`sha256:[0-9a-f]{64}`, "DIGEST"},
		{`\b[0-9a-f]{64}\b`, "HASH"},
		{`crc32c:[0-9a-f]{8}`, "SUM"},
		{`\b[0-9a-f]{26,32}\b`, "SERIAL"},
		{`\b365[1-3]\b`, "DAYS"}, // ten years, with two or three leap days
		{`\bc-[0-9a-f]{16}\b`, "CELL"},
		{`127\.0\.0\.1:\d{4,5}`, "ADDR"},
		{`devel \(go[^)]*\)`, "VERSION"},
		{` on n\d: `, " on NODE: "}, // whichever leads
		{`op show \d+(\.\d+)?`, "op show OP"},
		{` {2,}`, "  "}, // the widths of columns
	} {
		text = regexp.MustCompile(r.pattern).ReplaceAllString(text, r.with)
	}
	return text
}

// names replaces the values of variables, where they stand alone, by their names; the longest first.
func (s *script) names(text string) string {
	byLength := slices.SortedFunc(maps.Keys(s.vars), func(a, b string) int {
		return cmp.Or(len(s.vars[b])-len(s.vars[a]), strings.Compare(a, b))
	})
	for _, name := range byLength {
		if value := s.vars[name]; value != "" {
			r := regexp.MustCompile(`(?m)(^|[ "(])` + regexp.QuoteMeta(value) + `($|[ :;,")])`)
			text = r.ReplaceAllString(text, "${1}$$"+name+"${2}")
		}
	}
	return text
}

// startCell runs datanode dev until the test ends, and gives its addresses.
func startCell(t *testing.T, nodes int) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	var stderr bytes.Buffer
	done := make(chan int, 1)
	go func() {
		args := []string{"dev", "--nodes", fmt.Sprint(nodes), "--listen", "127.0.0.1:0", "--http", ""}
		done <- runContext(ctx, args, strings.NewReader(""), in, &stderr, func(string) string { return "" })
		in.Close()
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-done; code != 0 {
			t.Errorf("dev ended with %d: %s", code, stderr.String())
		}
		t.Logf("dev said: %s", stderr.String())
	})
	var addrs []string
	lines := bufio.NewScanner(out)
	for len(addrs) < nodes && lines.Scan() {
		addrs = append(addrs, strings.Fields(lines.Text())[1])
	}
	if len(addrs) < nodes {
		t.Fatalf("dev named %d of %d nodes", len(addrs), nodes)
	}
	return strings.Join(addrs, ",")
}
