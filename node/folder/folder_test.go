package folder

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/datanode/datanode/node/internal/vfs"
)

// What a crash leaves of an identity that was being written does not keep the node from starting.
func TestIdentitySurvivesTornWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, IdentityFile+".new"), []byte(`{"no`), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		f, err := Open(vfs.OS{}, dir, "n1")
		if err != nil {
			t.Fatal(err)
		}
		if f.id.Node != "n1" {
			t.Fatal(f.id)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, IdentityFile), []byte(`{"no`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(vfs.OS{}, dir, "n1"); err == nil {
		t.Fatal("a damaged identity is taken for a new folder")
	}
}

// A folder is one node's and one cell's for good, and says so when it is opened again.
func TestFolderIsOneNodesAndOneCells(t *testing.T) {
	fsys := vfs.NewMem()
	f, err := Open(fsys, "/data", "n1")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.LearnEra(7); err != nil || f.Era() != 0 {
		t.Errorf("the era of no cell is %d, %v", f.Era(), err)
	}
	if err := f.LearnCell("a"); err != nil || f.Cell() != "a" || f.AdmittedBy() != "" {
		t.Errorf("whose log it has: cell %q, admitted by %q, %v", f.Cell(), f.AdmittedBy(), err)
	}
	if err := f.Admit("a"); err != nil {
		t.Fatal(err)
	}
	if err := f.LearnEra(7); err != nil {
		t.Fatal(err)
	}
	if err := f.LearnEra(6); err != nil {
		t.Fatal(err)
	}
	if f, err = Open(fsys, "/data", "n1"); err != nil || f.AdmittedBy() != "a" || f.Era() != 7 {
		t.Fatalf("opened again: admitted by %q, era %d, %v", f.AdmittedBy(), f.Era(), err)
	}
	if f.LearnCell("b") == nil || f.Admit("b") == nil || f.AdmittedBy() != "a" {
		t.Error("it changes its cell")
	}
	if _, err := Open(fsys, "/data", "n2"); err == nil {
		t.Error("another node may use it")
	}
}

// Addresses that were written by hand stay until the log has them.
func TestMovesStayUntilTheLogHasThem(t *testing.T) {
	fsys := vfs.NewMem()
	f, err := Open(fsys, "/data", "n1")
	if err != nil {
		t.Fatal(err)
	}
	never := func() (bool, error) { t.Error("the log is asked though there is no file"); return true, nil }
	if moves, err := f.Moves(); moves != nil || err != nil {
		t.Fatal(moves, err)
	}
	if err := f.ForgetMoves(never); err != nil {
		t.Fatal(err)
	}
	if err := WriteMoves(fsys, "/data", map[string]string{"n2": "host:1"}); err != nil {
		t.Fatal(err)
	}
	for _, has := range []bool{false, true} {
		if moves, err := f.Moves(); err != nil || moves["n2"] != "host:1" {
			t.Fatal(moves, err)
		}
		if err := f.ForgetMoves(func() (bool, error) { return has, nil }); err != nil {
			t.Fatal(err)
		}
	}
	if moves, err := f.Moves(); moves != nil || err != nil {
		t.Error(moves, err)
	}
}
