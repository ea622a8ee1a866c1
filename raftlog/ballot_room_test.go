package raftlog

import (
	"os"
	"path/filepath"
	"testing"
)

// The ballot is written over the one before it, not into a new file, for which a full disk has no block.
func TestBallotTakesNoNewFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.ballot")
	var files [2]os.FileInfo
	for term := range uint64(6) {
		b := &ballot{Term: term, VotedFor: "n1"}
		if err := b.write(path); err != nil {
			t.Fatal(err)
		}
		got, err := readBallot(path)
		if err != nil || got.Term != term {
			t.Fatalf("term %d reads back as %+v, %v", term, got, err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if was := files[term%2]; was != nil && !os.SameFile(was, info) {
			t.Errorf("term %d is in a new file", term)
		}
		files[term%2] = info
	}
}
