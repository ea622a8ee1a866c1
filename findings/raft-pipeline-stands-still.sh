#!/usr/bin/env bash
# hashicorp/raft v1.7.3: a follower that could not append for a moment may never get an entry again from this leader.
#
# Expected: a follower whose log refuses entries, as on a disk that is full for a moment, is sent them again until
# it has them.
# Seen: under load, after a few such moments, it gets heartbeats and no entries. The leader sends the next entries
# before those before are answered (pipeline). It stops to take answers at the first that says "not appended", but
# may choose to send once more before it notices that it has stopped; that message waits for an answer to be taken,
# for ever. The follower never stands for election, as it hears heartbeats, and Shutdown of the leader does not
# return. Reported as hashicorp/raft #612.
# Why it matters: one more lost follower and the cluster has no majority, though two of three say that they are
# well. Take the answers for the engine in a Transport of your own, or switch pipelines off (MaxRPCsInFlight: 1).
#
# Needs Go and a module proxy. Prints what happens; exit 1 when the behaviour is another.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

type nothing struct{}

func (nothing) Apply(*raft.Log) any                  { return nil }
func (nothing) Snapshot() (raft.FSMSnapshot, error)  { return nothing{}, nil }
func (nothing) Restore(r io.ReadCloser) error        { return r.Close() }
func (nothing) Persist(sink raft.SnapshotSink) error { return sink.Close() }
func (nothing) Release()                             {}

// full is a log that takes nothing while it is full.
type full struct {
	*raft.InmemStore
	now atomic.Bool
}

func (f *full) StoreLogs(logs []*raft.Log) error {
	if f.now.Load() {
		return errors.New("no space left on device")
	}
	return f.InmemStore.StoreLogs(logs)
}

func (f *full) StoreLog(l *raft.Log) error { return f.StoreLogs([]*raft.Log{l}) }

// stuck runs a cluster of three, and reports after how many moments of a full disk n3 gets no entries any more.
func stuck(inFlight, moments int) int {
	const nodes = 3
	var conf raft.Configuration
	transports := make([]*raft.NetworkTransport, nodes)
	for i := range transports {
		t, err := raft.NewTCPTransportWithConfig("127.0.0.1:0", nil,
			&raft.NetworkTransportConfig{MaxPool: 3, Timeout: 10 * time.Second, MaxRPCsInFlight: inFlight})
		if err != nil {
			log.Fatal(err)
		}
		transports[i] = t
		conf.Servers = append(conf.Servers, raft.Server{ID: raft.ServerID(fmt.Sprintf("n%d", i+1)), Address: t.LocalAddr()})
	}
	rafts, store := make([]*raft.Raft, nodes), &full{InmemStore: raft.NewInmemStore()}
	for i := range rafts {
		c := raft.DefaultConfig()
		c.LocalID, c.LogOutput = conf.Servers[i].ID, io.Discard
		if i > 0 { // so that n1 leads, also when the machine is busy
			c.HeartbeatTimeout, c.ElectionTimeout = 20*time.Second, 20*time.Second
		}
		var logs raft.LogStore = raft.NewInmemStore()
		if i == 2 {
			logs = store
		}
		stable, snaps := raft.NewInmemStore(), raft.NewInmemSnapshotStore()
		if err := raft.BootstrapCluster(c, logs, stable, snaps, transports[i], conf); err != nil {
			log.Fatal(err)
		}
		r, err := raft.NewRaft(c, nothing{}, logs, stable, snaps, transports[i])
		if err != nil {
			log.Fatal(err)
		}
		rafts[i] = r
	}
	leader, n3 := rafts[0], rafts[2]
	for leader.State() != raft.Leader {
		time.Sleep(10 * time.Millisecond)
	}
	for m := 1; m <= moments; m++ {
		store.now.Store(true)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 5 {
					if err := leader.Apply([]byte("entry"), time.Minute).Error(); err != nil {
						log.Fatal(err)
					}
				}
			})
		}
		wg.Wait()
		store.now.Store(false)
		if err := leader.Apply([]byte("entry"), time.Minute).Error(); err != nil {
			log.Fatal(err)
		}
		for until := time.Now().Add(5 * time.Second); n3.AppliedIndex() < leader.AppliedIndex(); {
			if time.Sleep(time.Millisecond); time.Now().After(until) {
				fmt.Printf("moment %d: n3 has %d of %d entries five seconds after there was room again, and heard of n1 %s ago\n",
					m, n3.LastIndex(), leader.LastIndex(), time.Since(n3.LastContact()).Round(time.Second))
				return m
			}
		}
	}
	fmt.Printf("n3 has all entries after %d moments of a full disk\n", moments)
	return 0
}

func main() {
	fmt.Println("two messages in flight, the default:")
	pipelined := stuck(0, 100)
	fmt.Println("one:")
	plain := stuck(1, 20)
	if pipelined == 0 || plain != 0 {
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
