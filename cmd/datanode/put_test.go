package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A file that grows or shrinks while it is read is told as such, not as a mistake of whoever typed the command, and
// the others are stored.
func TestPutOfChangingFile(t *testing.T) {
	const sys = "/sys/class/net/lo/address" // is said to have a page, and has a line
	info, err := os.Stat(sys)
	if err != nil || info.Size() < 100 {
		t.Skipf("there is no %s of a page here: %v", sys, err)
	}
	whole := filepath.Join(t.TempDir(), "whole")
	if err := os.WriteFile(whole, []byte("whole"), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := startCell(t, 1)
	var stdout, stderr bytes.Buffer
	code := runContext(t.Context(), []string{"put", "--addr", addr, sys, whole}, strings.NewReader(""), &stdout, &stderr, noEnv)
	if code != exitFailed || !strings.Contains(stderr.String(), fmt.Sprintf("%s was %d bytes long when it was opened", sys, info.Size())) || !strings.Contains(stdout.String(), whole) {
		t.Errorf("exit code %d, want %d\n%s%s", code, exitFailed, &stdout, &stderr)
	}
}

func TestCountReaderSeesChanges(t *testing.T) {
	for _, c := range []struct {
		total   int64
		read    int // how much of three bytes
		changed bool
	}{
		{total: 3, read: 2}, {total: 3, read: 3}, {total: 3, read: 9}, {total: 0, read: 9}, {total: 5, read: 3},
		{total: 5, read: 9, changed: true}, {total: 2, read: 2}, {total: 2, read: 3, changed: true},
	} {
		r := &countReader{r: strings.NewReader("abc"), total: c.total}
		if n, err := io.CopyN(io.Discard, r, int64(c.read)); err != nil && n != 3 {
			t.Fatal(err)
		}
		if r.changed() != c.changed {
			t.Errorf("%d of 3 bytes read that were said to be %d: changed %t, want %t", c.read, c.total, r.changed(), c.changed)
		}
	}
}
