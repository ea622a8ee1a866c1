#!/usr/bin/env bash
# hashicorp/raft v1.7.3: LeadershipTransfer() picks a voter that is dead, again and again.
#
# Expected: without a named target the leader hands over to a follower that it hears from; it keeps a last contact of
# each for its lease.
# Seen: it picks the voter with the highest next index and, of equals, the first in the configuration, dead or alive. When
# nothing was committed since that voter died, every transfer fails, also the tenth. One entry later, when the dead voter
# is behind the living one, transfers work.
# Why it matters: a drain or a decommission hands leadership over on a quiet cell, which is when nothing was committed. Name
# a voter that was heard from lately (LeadershipTransferToServer), and try another if that fails.
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
	"time"

	"github.com/hashicorp/raft"
)

type nothing struct{}

func (nothing) Apply(*raft.Log) any                         { return nil }
func (nothing) Snapshot() (raft.FSMSnapshot, error)         { return nothing{}, nil }
func (nothing) Restore(r io.ReadCloser) error               { return r.Close() }
func (nothing) Persist(sink raft.SnapshotSink) error        { return sink.Close() }
func (nothing) Release()                                    {}

func main() {
	const nodes = 3
	var conf raft.Configuration
	transports := make([]*raft.InmemTransport, nodes)
	for i := range transports {
		addr := raft.ServerAddress(fmt.Sprintf("a%d", i+1))
		_, transports[i] = raft.NewInmemTransportWithTimeout(addr, 200*time.Millisecond)
		conf.Servers = append(conf.Servers, raft.Server{ID: raft.ServerID(fmt.Sprintf("n%d", i+1)), Address: addr})
	}
	for _, a := range transports {
		for _, b := range transports {
			a.Connect(b.LocalAddr(), b)
		}
	}
	rafts := make([]*raft.Raft, nodes)
	for i := range rafts {
		c := raft.DefaultConfig()
		c.LocalID, c.LogOutput = conf.Servers[i].ID, io.Discard
		if i > 0 { // so that n1 leads, and n2 is the first of the others
			c.HeartbeatTimeout, c.ElectionTimeout = 5*time.Second, 5*time.Second
		}
		store := raft.NewInmemStore()
		snaps := raft.NewInmemSnapshotStore()
		if err := raft.BootstrapCluster(c, store, store, snaps, transports[i], conf); err != nil {
			log.Fatal(err)
		}
		r, err := raft.NewRaft(c, nothing{}, store, store, snaps, transports[i])
		if err != nil {
			log.Fatal(err)
		}
		rafts[i] = r
	}
	leader := rafts[0]
	for leader.State() != raft.Leader {
		time.Sleep(10 * time.Millisecond)
	}
	if err := leader.Apply([]byte("first"), time.Second).Error(); err != nil {
		log.Fatal(err)
	}
	for rafts[1].LastIndex() != leader.LastIndex() || rafts[2].LastIndex() != leader.LastIndex() {
		time.Sleep(10 * time.Millisecond)
	}
	for _, t := range transports { // n2 vanishes
		t.Disconnect("a2")
	}
	transports[1].DisconnectAll()
	failed := 0
	for range 10 {
		if err := leader.LeadershipTransfer().Error(); err != nil {
			if failed++; failed == 1 {
				fmt.Println("n2 is gone, n3 is there; transfer:", err)
			}
		}
	}
	fmt.Printf("%d of 10 transfers failed\n", failed)
	if err := leader.Apply([]byte("second"), time.Second).Error(); err != nil {
		log.Fatal(err)
	}
	after := leader.LeadershipTransfer().Error()
	fmt.Println("one entry later; transfer:", after)
	if failed != 10 || after != nil {
		fmt.Println("the behaviour has changed")
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
