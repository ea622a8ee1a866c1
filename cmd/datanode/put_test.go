package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/wire"
)

// A file that grows or shrinks while it is read is reported as such, not as a mistake of whoever typed the command, and
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
	code := runContext(t.Context(), []string{"put", "--addr", addr, sys, whole}, strings.NewReader(""), &stdout, &stderr,
		clitest.NoEnv)
	if code != exit.Failed || !strings.Contains(stderr.String(),
		fmt.Sprintf("%s was %d bytes long when it was opened", sys, info.Size())) ||
		!strings.Contains(stdout.String(), whole) {
		t.Errorf("exit code %d, want %d\n%s%s", code, exit.Failed, &stdout, &stderr)
	}
}

// What ends a put of several files says how many are missing and, by its exit code, whether any is stored.
func TestPutSaysWhatIsLeftOut(t *testing.T) {
	unread := &unreadable{exit.With(exit.NotFound, "no such file")}
	refused := wire.Errorf(wire.OpPut, wire.CodeUnavailable, "not now")
	for _, c := range []struct {
		errs    []error
		untried int
		code    int
		says    string
	}{
		{errs: []error{nil, nil}, code: exit.Done},
		{errs: []error{nil, unread, nil}, code: exit.NotFound, says: "1 of 3 files could not be read"},
		{errs: []error{refused, nil}, code: exit.Failed, says: "1 of 2 files are not stored; the others are"},
		{errs: []error{nil, unread, refused}, untried: 2, code: exit.Failed,
			says: "4 of 5 files are not stored; the others are, and their locators are printed; 2 of them were not tried"},
		{errs: []error{unread, refused}, code: exit.Unavailable, says: "none of 2 files is stored"},
	} {
		left, names := leftOut{untried: c.untried}, 0
		for i, err := range c.errs {
			if names++; err == nil {
				left.inVain = 0
				continue
			}
			name := fmt.Sprintf("file%d", i)
			if text := left.note(name, err); err == refused && !strings.Contains(text, name) {
				t.Errorf("%q does not name the file", text)
			}
		}
		err := left.err(t.Context(), names+c.untried)
		if code := exit.Code(t.Context(), err); code != c.code || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("after %v: exit code %d, %v; want %d, %q", c.errs, code, err, c.code, c.says)
		}
	}
}
