package main

import (
	"strings"
	"testing"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
)

// bench get measures gets and leaves nothing behind.
func TestBenchGet(t *testing.T) {
	addr := startCell(t, 1)
	var rows []gotten
	told(t, &rows, "bench", "get", "--addr", addr, "--callers", "2", "--objects", "5", "--size", "100", "--each", "20ms")
	if len(rows) != 1 || rows[0].Calls == 0 || rows[0].P50 <= 0 || rows[0].P50 > rows[0].P99 ||
		rows[0].P99 > rows[0].Max || rows[0].Bytes != 100 {
		t.Errorf("measured %+v", rows)
	}
	var left []struct{ Class, State string }
	told(t, &left, "extent", "ls", "--addr", addr)
	for _, e := range left {
		if strings.HasPrefix(e.Class, "bench-") && e.State != "deleted" {
			t.Errorf("an extent is left: %+v", e)
		}
	}
	for _, bad := range []string{"--callers=0", "--objects=0", "--size=0", "--size=2000000", "--each=0s"} {
		if code, _, _ := tell(t, "bench", "get", "--addr", addr, bad); code != exit.Usage {
			t.Errorf("%s: exit code %d, want %d", bad, code, exit.Usage)
		}
	}
}
