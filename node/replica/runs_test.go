package replica

import (
	"testing"

	"github.com/datanode/datanode/node/internal/vfs"
)

// The list of the runs of a store is bounded, and one that cannot be read is as good as none.
func TestRuns(t *testing.T) {
	fs := vfs.NewMem()
	if err := fs.MkdirAll("/store"); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(3 * maxRuns) {
		before, err := NoteRun(fs, "/store", 1_000_000_000_000_000+i)
		if err != nil || uint64(len(before)) != min(i, maxRuns-1) || i > 0 && before[0] != 1_000_000_000_000_000+i-1 {
			t.Fatalf("run %d: %d before it, %v", i, len(before), err)
		}
	}
	if err := vfs.ReplaceFile(fs, "/store/"+runsFile, []byte("[1,2")); err != nil {
		t.Fatal(err)
	}
	if before, err := NoteRun(fs, "/store", 7); err != nil || len(before) != 0 {
		t.Errorf("a torn list: %v, %v", before, err)
	}
}
