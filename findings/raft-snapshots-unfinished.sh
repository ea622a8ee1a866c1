#!/usr/bin/env bash
# hashicorp/raft v1.7.3: what a crash leaves of a snapshot that was being written stays on the disk for good.
#
# Expected: FileSnapshotStore writes a snapshot into a folder that ends in .tmp and renames it when it is whole. A .tmp
# folder that is there at a start cannot be of use to anybody, and goes when the store is opened, or at the latest when
# a snapshot is taken and old ones are reaped.
# Seen: it stays. Opening the store, taking snapshots, and reaping do not touch it; the store only warns of it each time
# it lists. A process that is killed five times while it writes 8 MiB leaves 40 MiB, beside the one snapshot that is
# retained.
# Why it matters: snapshots are written under load, by processes that are near their limit of memory or disk, which is
# also when they are killed. Each kill then takes away room for the next snapshot, until none fits, the log is not
# compacted any more, and the disk is full. Whoever opens such a store should first remove the folders in .tmp.
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
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

const size = 8 << 20

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// begin opens the store, which retains one snapshot, and writes one but its end.
func begin(index uint64) (*raft.FileSnapshotStore, raft.SnapshotSink) {
	store, err := raft.NewFileSnapshotStoreWithLogger("raft", 1, hclog.NewNullLogger())
	must(err)
	_, transport := raft.NewInmemTransport("")
	sink, err := store.Create(raft.SnapshotVersionMax, index, 1, raft.Configuration{}, 1, transport)
	must(err)
	_, err = sink.Write(make([]byte, size))
	must(err)
	return store, sink
}

// used is what the folder of snapshots holds, in MiB.
func used() (mib int64) {
	must(filepath.WalkDir("raft", func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		mib += info.Size()
		return err
	}))
	return mib >> 20
}

func main() {
	if len(os.Args) > 1 { // a process that is killed while it writes a snapshot
		begin(1)
		must(syscall.Kill(os.Getpid(), syscall.SIGKILL))
	}
	self, err := os.Executable()
	must(err)
	for range 5 {
		if err := exec.Command(self, "killed").Run(); err == nil {
			panic("it was not killed")
		}
	}
	fmt.Printf("after five kills: %d MiB\n", used())
	for index := uint64(10); index < 14; index++ {
		store, sink := begin(index)
		must(sink.Close())
		must(store.ReapSnapshots())
		kept, err := store.List()
		must(err)
		fmt.Printf("after a snapshot at %d: %d MiB, snapshots listed: %d\n", index, used(), len(kept))
	}
	if used() != 6*size>>20 {
		fmt.Println("changed: this is not what hashicorp/raft v1.7.3 did")
		os.Exit(1)
	}
}
GO
cat >go.mod <<'MOD'
module finding

go 1.26

require github.com/hashicorp/raft v1.7.3
MOD
go mod tidy >/dev/null 2>&1
go build -o finding .
./finding
