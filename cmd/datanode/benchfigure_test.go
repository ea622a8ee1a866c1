package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
)

// bench disk measures all limits, or says why not, and leaves nothing behind.
func TestBenchDisk(t *testing.T) {
	dir := t.TempDir()
	var all []figure
	told(t, &all, "bench", "disk", "--dir", dir, "--mib", "2", "--each", "10ms")
	if len(all) != 5 {
		t.Fatalf("%d figures, want 5: %+v", len(all), all)
	}
	for _, f := range all {
		direct := strings.Contains(f.What, "O_DIRECT") && f.Detail != "" // some file systems do not have it
		if f.BytesPerSecond <= 0 && !direct {
			t.Errorf("not measured: %+v", f)
		}
	}
	if f := all[0]; f.PerSecond <= 0 || f.P50 <= 0 || f.P50 > f.P99 {
		t.Errorf("appends: %+v", f)
	}
	noFiles(t, dir)
}

// bench repair loses nodes of a cell of its own, alone and beside clients.
func TestBenchRepair(t *testing.T) {
	dir := t.TempDir()
	var all []figure
	told(t, &all, "bench", "repair", "--dir", dir, "--mib", "12", "--each", "3s")
	if len(all) != 5 {
		t.Fatalf("%d figures, want 5: %+v", len(all), all)
	}
	for i, f := range all {
		gets := strings.HasPrefix(f.What, "gets")
		if gets != (f.PerSecond > 0) || gets != (f.P50 > 0) || gets == (f.BytesPerSecond > 0) ||
			(i == 0 || i == 2) != (f.Ratio == 0) {
			t.Errorf("figure %d: %+v", i, f)
		}
	}
	noFiles(t, dir)
}

// bench log measures the bare engine and a cell of its own beside it, and leaves nothing behind.
func TestBenchLog(t *testing.T) {
	dir := t.TempDir()
	var all []figure
	told(t, &all, "bench", "log", "--dir", dir, "--callers", "1,3", "--calls", "6", "--warmup", "0s", "--each", "1m",
		"--extents", "5")
	var said []string
	for _, f := range all {
		said = append(said, f.What)
		if f.PerSecond <= 0 || f.Detail != "" || (f.Of == "") != (f.Ratio == 0) {
			t.Errorf("%+v", f)
		}
	}
	want := []string{"deletes of 5 extents at once, 1 caller"}
	for _, n := range []string{"3", "1"} {
		want = slices.Concat([]string{
			"bare engine, an entry a call, " + n + " callers", "bare engine, batching committer, " + n + " callers",
			"creates, " + n + " callers", "deletes of extents, " + n + " callers", "deletes by locator, " + n + " callers",
		}, want)
	}
	if !slices.Equal(said, want) {
		t.Errorf("measured %q, want %q", said, want)
	}
	noFiles(t, dir)
}

func noFiles(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v, left behind: %v", err, left)
	}
}

func TestBenchFigureUsage(t *testing.T) {
	for _, args := range [][]string{
		{"disk", "--mib=0"}, {"disk", "--each=0s"}, {"repair", "--mib=0"}, {"repair", "--each=0s"},
		{"log", "--callers=0"}, {"log", "--callers="}, {"log", "--extents=-1"}, {"log", "--calls=-1"}, {"log", "--each=0s"},
		{"log", "--warmup=-1s"},
	} {
		if code, _, _ := tell(t, append([]string{"bench"}, args...)...); code != exit.Usage {
			t.Errorf("%v: exit code %d, want %d", args, code, exit.Usage)
		}
	}
}

// bench log-read reads a log of its own in every way there is, all of it, and leaves nothing behind.
func TestBenchLogRead(t *testing.T) {
	dir := t.TempDir()
	var all []figure
	told(t, &all, "bench", "log-read", "--dir", dir, "--entries", "9000", "--rounds", "1")
	if len(all) != len(logReaders()) {
		t.Fatalf("%d figures, want %d: %+v", len(all), len(logReaders()), all)
	}
	for i, f := range all {
		if f.PerSecond <= 0 || (i == 0) != (f.Ratio == 0) || !strings.Contains(f.Detail, "MiB of heap") ||
			!strings.Contains(f.What, logReaders()[i].what) {
			t.Errorf("figure %d: %+v", i, f)
		}
	}
	noFiles(t, dir)
	for _, bad := range []string{"--entries=0", "--rounds=0"} {
		if code, _, _ := tell(t, "bench", "log-read", "--dir", dir, bad); code != exit.Usage {
			t.Errorf("%s: exit code %d, want %d", bad, code, exit.Usage)
		}
	}
}
