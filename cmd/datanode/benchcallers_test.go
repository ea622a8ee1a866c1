package main

import (
	"os"
	"strconv"
	"testing"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/load"
)

// bench put and get measure, and leave nothing behind.
func TestBenchPutAndGet(t *testing.T) {
	addr := startCell(t, 1)
	for _, args := range [][]string{
		{"put", "--pid", strconv.Itoa(os.Getpid())},
		{"get", "--objects", "5"},
	} {
		t.Run(args[0], func(t *testing.T) {
			var rows []load.Row
			told(t, &rows, append(append([]string{"bench"}, args...), "--addr", addr, "--callers", "2", "--size", "100",
				"--warmup", "0s", "--each", "3s")...)
			if len(rows) != 1 {
				t.Fatalf("%d rows, want 1: %+v", len(rows), rows)
			}
			r := rows[0]
			if r.Calls == 0 || r.PerSecond <= 0 || r.P50 <= 0 || r.P50 > r.P99 || r.P99 > r.Max || r.Bytes != 100 ||
				r.Callers != 2 || r.Errors != 0 {
				t.Errorf("measured %+v", r)
			}
			if asked := args[1] == "--pid"; asked != (r.ServerTime > 0) {
				t.Errorf("processor time of servers: %v µs", r.ServerTime)
			}
			noneLeft(t, addr)
		})
	}
}

// noneLeft checks that no extent of a benchmark is left.
func noneLeft(t *testing.T, addr string) {
	t.Helper()
	var left []struct{ Class, State string }
	told(t, &left, "extent", "ls", "--addr", addr)
	for _, e := range left {
		if len(e.Class) > len(benchClass) && e.Class[:len(benchClass)] == benchClass && e.State != "deleted" {
			t.Errorf("an extent is left: %+v", e)
		}
	}
}

func TestBenchUsage(t *testing.T) {
	for _, args := range [][]string{
		{"get", "--callers=0"}, {"get", "--objects=0"}, {"get", "--size=0"}, {"get", "--size=2000000000"},
		{"get", "--each=0s"}, {"put", "--callers=2000"}, {"put", "--size=0"}, {"put", "--warmup=-1s"},
	} {
		if code, _, _ := tell(t, append([]string{"bench"}, args...)...); code != exit.Usage {
			t.Errorf("%v: exit code %d, want %d", args, code, exit.Usage)
		}
	}
}

// bench delete deletes what it has put, in batches, and ends when nothing is left.
func TestBenchDelete(t *testing.T) {
	addr := startCell(t, 1)
	var rows []load.Row
	told(t, &rows, "bench", "delete", "--addr", addr, "--callers", "2", "--objects", "20", "--batch", "3", "--each", "1m")
	if len(rows) != 1 || rows[0].Calls != 6 || rows[0].Batch != 3 || rows[0].Errors != 0 || rows[0].PerSecond <= 0 {
		t.Errorf("measured %+v, want 6 calls of 3 objects", rows)
	}
	noneLeft(t, addr)
	if code, _, _ := tell(t, "bench", "delete", "--objects", "2", "--batch", "3"); code != exit.Usage {
		t.Errorf("exit code %d, want %d", code, exit.Usage)
	}
}
