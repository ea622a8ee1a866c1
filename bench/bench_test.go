package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getenv(actAsEtcd) != "" {
		beEtcd()
		return
	}
	os.Exit(m.Run())
}

// All peers do all that they are measured at.
func TestPeers(t *testing.T) {
	datanode := filepath.Join(t.TempDir(), "datanode")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", datanode, "./cmd/datanode")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the product: %v\n%s", err, out)
	}
	var out bytes.Buffer
	err := run(t.Context(), []string{"--datanode", "now=" + datanode, "--dir", t.TempDir(), "--rounds", "2", "--each",
		"300ms", "--sizes", "4096", "--callers", "4", "--objects", "20", "--batch", "5"}, &out)
	if err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + out.String())
	rows := strings.Split(strings.TrimSpace(out.String()), "\n")
	if want := 2 + 4; len(rows) != want {
		t.Fatalf("%d lines, want %d", len(rows), want)
	}
	for _, row := range rows[2:] {
		cells := strings.Split(strings.Trim(row, "| "), " | ")
		if len(cells) != 12 || cells[1] == "–" || cells[7] == "–" || strings.Contains(row, "errors") ||
			strings.Count(cells[10], ",") != 1 {
			t.Errorf("%d cells, some not measured or with errors: %s", len(cells), row)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--rounds", "0"}, {"--sizes", "x"}, {"--callers", "0"}, {"--datanode", "x", "--etcd=false"}, {"--etcd=false"},
	} {
		if err := run(t.Context(), args, &bytes.Buffer{}); err == nil {
			t.Errorf("%v is taken", args)
		}
	}
}
