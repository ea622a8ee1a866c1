package scaffold_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/datanode/datanode/plugins/guest/build"
	"github.com/datanode/datanode/plugins/guest/scaffold"
)

func TestCheckName(t *testing.T) {
	for _, name := range []string{"a", "gold-first", "quiet-hours.2", "0", strings.Repeat("a", 64)} {
		if err := scaffold.CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", "-x", "Gold", "a b", "a/b", "a_b", "ä", strings.Repeat("a", 65), `a"`,
		"a\n"} {
		var wrong *scaffold.NameError
		if err := scaffold.CheckName(name); !errors.As(err, &wrong) {
			t.Errorf("%q was accepted: %v", name, err)
		}
	}
}

// Each language's folder holds its main file, and the name given stands wherever the template's did.
func TestFiles(t *testing.T) {
	for _, l := range build.Langs() {
		files, err := scaffold.Files(l, "gold.first-2")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{l.Main(), "README.md", "cases/order.txt", "cases/conflicts.txt"} {
			if len(files[want]) == 0 {
				t.Errorf("%s: no file %s", l, want)
			}
		}
		if !strings.Contains(string(files[l.Main()]), "gold.first-2") {
			t.Errorf("%s: %s does not name the policy", l, l.Main())
		}
		for name, text := range files {
			if strings.Contains(string(text), "my-policy") || strings.Contains(string(text), "@LANG@") ||
				strings.Contains(string(text), "@FACTS@") {
				t.Errorf("%s: %s still has a word of the template", l, name)
			}
		}
	}
	readme, err := scaffold.Files(build.Go, strings.Repeat("a-long-name-", 5))
	if err != nil {
		t.Fatal(err)
	}
	columns := map[int]bool{}
	for line := range strings.SplitSeq(string(readme["README.md"]), "\n") {
		if at := strings.Index(line, "  # "); at >= 0 {
			columns[at] = true
		}
	}
	if len(columns) != 1 {
		t.Errorf("comments begin in %d columns of\n%s", len(columns), readme["README.md"])
	}
	if _, err := scaffold.Files("cobol", "x"); err == nil {
		t.Error("an unknown language was accepted")
	}
}

// Nothing is written over, not even beside what is there.
func TestWriteRefusesWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	names, err := scaffold.Write(dir, build.C, "mine") // empty, so it will do
	if err != nil || len(names) != 5 {
		t.Fatalf("%q, %v", names, err)
	}
	before, err := os.ReadFile(filepath.Join(dir, "policy.c"))
	if err != nil {
		t.Fatal(err)
	}
	var exists *scaffold.ExistsError
	if _, err := scaffold.Write(dir, build.Rust, "other"); !errors.As(err, &exists) {
		t.Errorf("%v, want an ExistsError", err)
	}
	if _, err := scaffold.Write(filepath.Join(dir, "policy.c"), build.Rust, "other"); err == nil {
		t.Error("a file was taken for a folder")
	}
	after, err := os.ReadFile(filepath.Join(dir, "policy.c"))
	if _, serr := os.Stat(filepath.Join(dir, "policy.rs")); err != nil || string(before) != string(after) || serr == nil {
		t.Errorf("something was written: %v", err)
	}
	if _, err := scaffold.Write(filepath.Join(t.TempDir(), "new"), build.Go, "No"); err == nil {
		t.Error("a wrong name was accepted")
	}
}
