#!/usr/bin/env bash
# hashicorp/raft v1.7.3: a follower behind a slow link never gets a single entry, however long one waits.
#
# Expected: raft sends a follower that is behind as much as goes through. On a slow link catching up takes longer.
# Seen: a message takes up to MaxAppendEntries entries (64 by default), whatever their size, and NetworkTransport gives
# the whole call one deadline (10 s in its examples), set before the first byte is sent. If the link cannot carry all of
# a message and the answer within it, the call fails, and the same message is sent again from its first byte, for ever.
# The follower's log stays empty although its link is busy all the time. With fewer entries a message it catches up
# over the same link. The example below has a tenth of each figure: 64 entries of 64 KiB, 1 s, 2 MiB/s; by default it is
# 64 entries of 512 KiB, 10 s and 3 MiB/s.
# Why it matters: a voter in another site, or one whose link is full of a repair, counts for quorum and is behind for
# good, and the leader sends the same megabytes again and again, which keeps the link full. Bound a message by bytes, or
# have the deadline of a connection move on while bytes do.
#
# Needs Go and a module proxy; takes half a minute. Prints what happens; exit 1 when the behaviour is another.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

const (
	entries   = 200
	entrySize = 64 << 10
	timeout   = time.Second
	linkRate  = 2 << 20 // bytes a second
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

type nothing struct{}

func (nothing) Apply(*raft.Log) any                  { return nil }
func (nothing) Snapshot() (raft.FSMSnapshot, error)  { return nothing{}, nil }
func (nothing) Restore(r io.ReadCloser) error        { return r.Close() }
func (nothing) Persist(sink raft.SnapshotSink) error { return sink.Close() }
func (nothing) Release()                             {}

// link is a connection that carries linkRate, with a small buffer: the writer waits for what the link takes.
type link struct{ net.Conn }

func (l link) Write(p []byte) (n int, err error) {
	const piece = 16 << 10
	for n < len(p) && err == nil {
		var k int
		k, err = l.Conn.Write(p[n:min(n+piece, len(p))])
		n += k
		time.Sleep(piece * time.Second / linkRate)
	}
	return n, err
}

type layer struct{ net.Listener }

func (l layer) Dial(to raft.ServerAddress, d time.Duration) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", string(to), d)
	if err != nil {
		return nil, err
	}
	must(conn.(*net.TCPConn).SetWriteBuffer(64 << 10))
	return link{conn}, nil
}

func start(name string, perMessage int) (*raft.Raft, *raft.NetworkTransport, *raft.InmemStore) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	transport := raft.NewNetworkTransportWithLogger(layer{listener}, 3, timeout, hclog.NewNullLogger())
	c := raft.DefaultConfig()
	c.LocalID, c.Logger, c.MaxAppendEntries = raft.ServerID(name), hclog.NewNullLogger(), perMessage
	store := raft.NewInmemStore()
	r, err := raft.NewRaft(c, nothing{}, store, store, raft.NewInmemSnapshotStore(), transport)
	must(err)
	return r, transport, store
}

// behind has a follower join a leader that has entries, and gives how many it has after some time.
func behind(perMessage int, wait time.Duration) uint64 {
	leader, at, _ := start("a", perMessage)
	defer leader.Shutdown()
	must(leader.BootstrapCluster(raft.Configuration{Servers: []raft.Server{{ID: "a", Address: at.LocalAddr()}}}).Error())
	<-leader.LeaderCh()
	for range entries {
		must(leader.Apply(make([]byte, entrySize), time.Minute).Error())
	}
	follower, there, store := start("b", perMessage)
	defer follower.Shutdown()
	must(leader.AddNonvoter("b", there.LocalAddr(), 0, time.Minute).Error())
	for end := time.Now().Add(wait); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if last, err := store.LastIndex(); err != nil || last > entries {
			must(err)
			break
		}
	}
	last, err := store.LastIndex()
	must(err)
	return last
}

func main() {
	const wait = 20 * time.Second // the link carries all in 7
	stuck := behind(64, wait)
	fmt.Printf("64 entries a message: the follower has %d of %d entries after %v\n", stuck, entries, wait)
	moves := behind(8, wait)
	fmt.Printf(" 8 entries a message: the follower has %d of %d entries or more within %v\n", moves, entries, wait)
	if stuck > 1 || moves < entries {
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
go run .
