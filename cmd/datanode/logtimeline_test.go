package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/datanode/datanode/cmd/datanode/internal/clitest"
)

// A file is replaced by a whole one or not at all, and nothing else is left beside it.
func TestReplaceFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a.svg")
	broken := errors.New("broken")
	writes := func(text string, err error) func(io.Writer) error {
		return func(w io.Writer) error {
			_, failed := io.WriteString(w, text)
			return errors.Join(failed, err)
		}
	}
	for _, c := range []struct {
		text string
		err  error
		want string
	}{{"first", nil, "first"}, {"half", broken, "first"}, {"second", nil, "second"}} {
		if err := replaceFile(name, writes(c.text, c.err)); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", c.text, err, c.err)
		}
		got, err := os.ReadFile(name)
		clitest.Must(t, err)
		found, err := os.ReadDir(dir)
		clitest.Must(t, err)
		if string(got) != c.want || len(found) != 1 {
			t.Errorf("after %q the file has %q, want %q; %d files are there", c.text, got, c.want, len(found))
		}
	}
}
