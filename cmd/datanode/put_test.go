package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/datanode/datanode/wire"
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

// What ends a put of several files says how many are missing and, by its exit code, whether any is stored.
func TestPutSaysWhatIsLeftOut(t *testing.T) {
	unread := &unreadable{withCode(exitNotFound, "no such file")}
	refused := wire.Errorf(wire.OpPut, wire.CodeUnavailable, "not now")
	for _, c := range []struct {
		errs    []error
		untried int
		code    int
		says    string
	}{
		{errs: []error{nil, nil}, code: exitDone},
		{errs: []error{nil, unread, nil}, code: exitNotFound, says: "1 of 3 files could not be read"},
		{errs: []error{refused, nil}, code: exitFailed, says: "1 of 2 files are not stored; the others are"},
		{errs: []error{nil, unread, refused}, untried: 2, code: exitFailed, says: "4 of 5 files are not stored; the others are, and their locators are printed; 2 of them were not tried"},
		{errs: []error{unread, refused}, code: exitUnavailable, says: "none of 2 files is stored"},
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
		if code := exitCode(t.Context(), err); code != c.code || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("after %v: exit code %d, %v; want %d, %q", c.errs, code, err, c.code, c.says)
		}
	}
}

// The bar of a put is not full before the acknowledgement, however much is known of the length.
func TestBarIsNotFullBeforeTheAcknowledgement(t *testing.T) {
	for _, c := range []struct{ done, total int64 }{{0, 0}, {5, 0}, {0, 1}, {1, 1}, {50, 100}, {100, 100}, {1 << 40, 1 << 40}, {7, 3}} {
		shown, of := unacknowledged(c.done, c.total)
		if shown < 0 || shown >= of || of < c.total || c.done*2 <= c.total && shown != c.done {
			t.Errorf("%d of %d read: the bar is at %d of %d", c.done, c.total, shown, of)
		}
	}
}
