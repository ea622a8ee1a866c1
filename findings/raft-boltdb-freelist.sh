#!/usr/bin/env bash
# hashicorp/raft-boltdb v2.3.1 over bbolt v1.5.0: after the log was compacted once, each small entry writes 0.7 MiB.
#
# Expected: appending an entry of 200 bytes to a log of the store's defaults (NewBoltStore) writes a few pages, whatever
# the log has been through. Compaction makes the log smaller and later work cheaper.
# Seen: 16 to 28 KiB an entry, until DeleteRange drops 190,000 entries of 1 KB, as raft does after a snapshot. From then
# on it is over 700 KiB an entry, for good: bbolt writes the list of all its free pages with every commit, and the pages
# that the entries had are free now. 10,000 entries later it is hardly less, and a restart changes nothing, since the
# file never shrinks. With bbolt.Options.NoFreelistSync, which raft-boltdb leaves to its caller, it stays 20 KiB.
# Why it matters: a cell that once had a long log (a follower that was away, a storm of work) writes thirty times the
# bytes for each of its decisions ever after, on each voter, and wears its disks out; nothing in raft's or the store's
# metrics tells. Set NoFreelistSync, and know the price: opening the file reads all of its pages once.
#
# Needs Go and a module proxy, and /proc. Prints what happens; exit 1 when the behaviour is another.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// written is how many bytes this process has handed to write calls.
func written() (n int64) {
	text, err := os.ReadFile("/proc/self/io")
	must(err)
	_, rest, _ := strings.Cut(string(text), "wchar: ")
	_, err = fmt.Sscan(rest, &n)
	must(err)
	return n
}

// try gives the bytes that an entry of 200 takes before and after the log is compacted.
func try(path string, options *bbolt.Options) (before, after, later int64) {
	store, err := raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: options})
	must(err)
	defer func() { must(store.Close()) }()
	last := uint64(0)
	put := func(count, size int) {
		logs := make([]*raft.Log, count)
		for i := range logs {
			last++
			logs[i] = &raft.Log{Index: last, Term: 1, Data: make([]byte, size)}
		}
		must(store.StoreLogs(logs))
	}
	each := func() int64 {
		const count = 20
		start := written()
		for range count {
			put(1, 200)
		}
		return (written() - start) / count
	}
	for range 400 {
		put(500, 1000)
	}
	before = each()
	must(store.DeleteRange(1, last-10240)) // raft's default of TrailingLogs
	after = each()
	for range 20 {
		put(500, 1000)
	}
	must(store.Close())
	store, err = raftboltdb.New(raftboltdb.Options{Path: path, BoltOptions: options})
	must(err)
	return before, after, each()
}

func main() {
	dir, err := os.MkdirTemp(".", "log")
	must(err)
	before, after, later := try(filepath.Join(dir, "default"), nil)
	fmt.Printf("as it comes:    %4d KiB an entry, after compaction %4d, 10,000 entries and a restart later %4d\n",
		before>>10, after>>10, later>>10)
	cheap, still, stays := try(filepath.Join(dir, "nosync"), &bbolt.Options{NoFreelistSync: true})
	fmt.Printf("NoFreelistSync: %4d KiB an entry, after compaction %4d, 10,000 entries and a restart later %4d\n",
		cheap>>10, still>>10, stays>>10)
	if after < 10*before || later < 10*before || still > 2*cheap || stays > 2*cheap {
		fmt.Println("changed: this is not what raft-boltdb v2.3.1 with bbolt v1.5.0 did")
		os.Exit(1)
	}
}
GO
cat >go.mod <<'MOD'
module finding

go 1.26

require (
	github.com/hashicorp/go-metrics v0.6.0
	github.com/hashicorp/raft v1.7.3
	github.com/hashicorp/raft-boltdb/v2 v2.3.1
	go.etcd.io/bbolt v1.5.0
)
MOD
go mod tidy >/dev/null 2>&1
go run .
