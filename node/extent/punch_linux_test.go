package extent

import (
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/datanode/datanode/node/internal/vfs"
)

// The disk gets back most of what deleted objects took, small ones and large ones, as the file system counts it.
func TestPunchGivesBack(t *testing.T) {
	for name, lengths := range map[string][]int{
		"4 KiB": slices.Repeat([]int{4096}, 2000), "1 MiB": append([]int{100}, slices.Repeat([]int{1 << 20}, 8)...),
	} {
		t.Run(name, func(t *testing.T) {
			s, _, err := Open(vfs.OS{}, t.TempDir(), Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			was := punchable(t, s, 1, lengths)
			deleted := []Range{{0, uint64(len(was) - lengths[len(lengths)-1])}}
			before := blocksOf(t, s, 1)
			if _, err := s.Punch(1, 7, deleted); CodeOf(err) == CodeUnsupported {
				t.Skip("the file system of the temporary folder gives nothing back: it has no FALLOC_FL_PUNCH_HOLE, or is btrfs")
			}
			punchAll(t, s, 1, deleted)
			checkPunched(t, s, 1, was, deleted)
			refusesPunched(t, s, 1, deleted)
			back, gone := before-blocksOf(t, s, 1), int64(deleted[0].To)
			t.Logf("%d of %d deleted bytes came back", back, gone)
			if back < gone*85/100 {
				t.Errorf("%d of %d deleted bytes came back", back, gone)
			}
		})
	}
}

// blocksOf is what an extent's file takes on the disk: it has been synced.
func blocksOf(t *testing.T, s *Store, id ID) int64 {
	t.Helper()
	info, err := os.Stat(s.dir.extent(id))
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}
