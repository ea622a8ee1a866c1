package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
)

// inProcess runs a command with stdin.
func inProcess(t *testing.T, stdin io.Reader, args ...string) (code int, stdout []byte, stderr string) {
	t.Helper()
	var out, notes bytes.Buffer
	code = runContext(t.Context(), args, stdin, &out, &notes, clitest.NoEnv)
	return code, out.Bytes(), notes.String()
}

// What is longer than --extent-bytes has several locators, which get takes together, in whole or in part.
func TestPutIsCut(t *testing.T) {
	addr := startCell(t, 3)
	const size, most = 36 << 20, 16 << 20 // three parts, and enough for get to read them at once
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	want := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(want) // it never fails
	name := filepath.Join(t.TempDir(), "large")
	clitest.Must(t, os.WriteFile(name, want, 0o600))

	for _, c := range []struct {
		name string
		in   io.Reader
	}{{name, strings.NewReader("")}, {"-", io.MultiReader(bytes.NewReader(want))}} {
		code, out, notes := inProcess(t, c.in, "put", "-o", "json", "--addr", addr, "--extent-bytes", "16Mi", c.name)
		var files []stored
		if err := json.Unmarshal(out, &files); code != exit.Done || err != nil || len(files) != 1 {
			t.Fatalf("exit code %d, %v\n%s%s", code, err, out, notes)
		}
		s := files[0]
		if s.Bytes != size || s.Disks != 3 || s.Want != 3 || strings.Count(s.Locator, ",") != 2 {
			t.Fatalf("stored as %+v", s)
		}
		if code, out, notes := inProcess(t, nil, "get", "--addr", addr, s.Locator); !bytes.Equal(out, want) {
			t.Errorf("%d other bytes, exit code %d, %s", len(out), code, notes)
		}
		file := filepath.Join(t.TempDir(), "out")
		code, _, notes = inProcess(t, nil, "get", "--addr", addr, s.Locator, "-f", file)
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d other bytes in the file, exit code %d, %v, %s", len(got), code, err, notes)
		}
		checkCutRanges(t, addr, s.Locator, want, most)
	}
	if code, out, notes := inProcess(t, nil, "put", "--addr", addr, "--extent-bytes", "16Mi", name); code != exit.Done {
		t.Errorf("exit code %d: %s", code, notes)
	} else {
		stored := strings.TrimSpace(string(out))
		if code, _, notes := inProcess(t, nil, "rm", "--addr", addr, "--yes", stored); code != exit.Done {
			t.Errorf("rm %s: exit code %d, %s", stored, code, notes)
		}
		if code, out, notes := inProcess(t, nil, "get", "--addr", addr, stored); code != exit.NotFound || len(out) > 0 {
			t.Errorf("%d bytes of what is deleted, exit code %d, %s", len(out), code, notes)
		}
	}
	for _, args := range [][]string{{"put", "--extent-bytes", "1Mi", name}, {"put", "--extent-bytes", "much", name},
		{"get", "12", "--range", "0+1"}, {"get", "1:0+5,12"}} {
		if code, _, notes := inProcess(t, nil, append(args, "--addr", addr)...); code != exit.Usage {
			t.Errorf("%s: exit code %d, want %d: %s", args, code, exit.Usage, notes)
		}
	}
}

// checkCutRanges gets ranges of what is cut after each most bytes.
func checkCutRanges(t *testing.T, addr, locator string, want []byte, most int) {
	t.Helper()
	size := len(want)
	for _, r := range [][2]int{{0, 10}, {size - 10, 10}, {most - 1, 1}, {most, 1}, {most - 3, 7}, {0, 0}, {size, 0},
		{most - 1, most + 2}, {0, size}} {
		part := fmt.Sprintf("%d+%d", r[0], r[1])
		code, out, notes := inProcess(t, nil, "get", "--addr", addr, locator, "--range", part)
		if code != exit.Done || !bytes.Equal(out, want[r[0]:r[0]+r[1]]) {
			t.Errorf("%s: %d other bytes, exit code %d, %s", part, len(out), code, notes)
		}
	}
	file := filepath.Join(t.TempDir(), "none")
	code, _, notes := inProcess(t, nil, "get", "--addr", addr, locator, "--range", "3+0", "-f", file)
	if got, err := os.ReadFile(file); code != exit.Done || err != nil || len(got) != 0 {
		t.Errorf("a file of nothing: %d bytes, exit code %d, %v, %s", len(got), code, err, notes)
	}
	for part, says := range map[string]string{
		fmt.Sprintf("%d+1", size):   "goes beyond",
		fmt.Sprintf("0+%d", size+1): "goes beyond",
		"1+18446744073709551615":    "goes beyond",
		"7":                         "OFFSET+LENGTH",
		"7-9":                       "OFFSET+LENGTH",
		"-1+9":                      "OFFSET+LENGTH",
		fmt.Sprintf("%d+%d", size, uint64(1)<<62): "goes beyond",
	} {
		code, out, notes := inProcess(t, nil, "get", "--addr", addr, locator, "--range", part)
		if code != exit.Usage || len(out) > 0 || !strings.Contains(notes, says) {
			t.Errorf("%s: exit code %d with %d bytes, %s", part, code, len(out), notes)
		}
	}
}
