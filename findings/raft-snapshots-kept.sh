#!/usr/bin/env bash
# hashicorp/raft v1.7.3: FileSnapshotStore counts a damaged snapshot among those that it retains.
#
# Expected: with retain = 2, at least the newest sound snapshot stays beside a new one, since a snapshot whose checksum
# does not fit cannot be opened.
# Seen: List names the damaged snapshot first, Open refuses it ("CRC mismatch"), and the next snapshot that is taken
# removes the older, sound one and keeps the damaged one. From then on there is a single snapshot that can be opened,
# although two were asked for, and nothing says so.
# Why it matters: the second snapshot is kept for the day on which the first is damaged. Who relies on it must verify each
# snapshot after taking it and at start, and move bad ones away before the next is taken.
#
# Needs Go and a module proxy. Prints what happens; exit 1 when the behaviour is another.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
)

func take(s *raft.FileSnapshotStore, index uint64) {
	_, trans := raft.NewInmemTransport("")
	sink, err := s.Create(raft.SnapshotVersionMax, index, 1, raft.Configuration{}, 1, trans)
	if err == nil {
		if _, err = fmt.Fprintf(sink, "the state at %d", index); err == nil {
			err = sink.Close()
		}
	}
	if err != nil {
		log.Fatal(err)
	}
}

func show(s *raft.FileSnapshotStore) (sound []uint64) {
	all, err := s.List()
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range all {
		_, r, err := s.Open(m.ID)
		fmt.Printf("  snapshot at %d: open says %v\n", m.Index, err)
		if err == nil {
			sound = append(sound, m.Index)
			r.Close()
		}
	}
	return sound
}

func main() {
	s, err := raft.NewFileSnapshotStore("data", 2, io.Discard)
	if err != nil {
		log.Fatal(err)
	}
	take(s, 10)
	take(s, 20)
	newest, err := s.List()
	if err != nil {
		log.Fatal(err)
	}
	file := filepath.Join("data", "snapshots", newest[0].ID, "state.bin")
	raw, err := os.ReadFile(file)
	if err != nil {
		log.Fatal(err)
	}
	raw[0] ^= 1
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		log.Fatal(err)
	}
	fmt.Println("two are kept, one bit of the newer has flipped:")
	before := show(s)
	take(s, 30)
	fmt.Println("after the next one:")
	after := show(s)
	if fmt.Sprint(before, after) != "[10] [30]" {
		fmt.Println("the behaviour has changed: sound were", before, "then", after)
		os.Exit(1)
	}
	fmt.Println("the sound snapshot at 10 is gone, the damaged one at 20 was kept")
}
GO
cat >go.mod <<'MOD'
module finding

go 1.26

require github.com/hashicorp/raft v1.7.3
MOD
go mod tidy >/dev/null 2>&1
go run .
