package raftlog

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
)

// lossyCell is a cell whose nodes lose their logs, and what it has acknowledged.
type lossyCell struct {
	*testCell
	rand  *rand.Rand
	held  bool
	acked []string
}

func newLossyCell(t *testing.T, nodes int) *lossyCell {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	c := &lossyCell{rand: rand.New(rand.NewPCG(seed, 0))}
	c.testCell = newCell(t, nodes, func(cfg *Config) { cfg.Held = c.held })
	c.held = true
	return c
}

// propose has entries acknowledged.
func (c *lossyCell) propose(entries int) {
	c.t.Helper()
	for range entries {
		name := fmt.Sprintf("a%d", len(c.acked))
		if _, _, err := c.leader().Propose(testContext(c.t), &state.OpenSession{Client: name}); err != nil {
			c.t.Fatal(err)
		}
		c.acked = append(c.acked, name)
	}
}

// lose damages or removes the log of a node that is stopped, in one of several ways.
func (c *lossyCell) lose(id state.NodeID) string {
	c.t.Helper()
	dir := filepath.Join(c.dir, string(id))
	path := filepath.Join(dir, logFile)
	b, err := os.ReadFile(path)
	if err != nil {
		c.t.Fatal(err)
	}
	way := c.rand.IntN(4)
	switch way {
	case 0: // every entry, in every copy of a page
		for i := range b {
			if bytes.HasPrefix(b[i:], entryMagic[:]) {
				b[i+entryHeadBytes] ^= 1 << c.rand.IntN(8)
			}
		}
	case 1: // the end of the file may be free pages
		b = b[:c.rand.IntN(3*os.Getpagesize())]
	case 2:
		clear(b[2*os.Getpagesize():])
	case 3:
		b = nil
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		c.t.Fatal(err)
	}
	if len(b) == 0 {
		if g, err := Open(c.config(id, c.servers)); err == nil {
			c.t.Fatal(errors.Join(errors.New("a node whose log was emptied starts as if it were new"), g.Close()))
		}
		if err := EmptyLog(dir, time.Now(), false); err != nil {
			c.t.Fatal(err)
		}
	}
	return []string{"entries", "cut", "pages", "emptied"}[way]
}

// restart starts a node, again if it says so.
func (c *lossyCell) restart(id state.NodeID) *Group {
	c.t.Helper()
	g, err := Open(c.config(id, c.servers))
	if err != nil && strings.Contains(err.Error(), "start this node again") {
		g, err = Open(c.config(id, c.servers))
	}
	if err != nil {
		c.t.Fatalf("%s: %v", id, err)
	}
	c.groups[id] = g
	return g
}

// votes asks a node for its vote, as another one that has all there is.
func (c *lossyCell) votes(of, asks *Group) bool {
	c.t.Helper()
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(asks.cfg.ID),
		Addr: []byte(testAddr(asks.cfg.ID))}
	term := max(of.Term(), asks.Term()) + 1
	id, addr := raft.ServerID(of.cfg.ID), raft.ServerAddress(testAddr(of.cfg.ID))
	vote := raft.RequestVoteRequest{RPCHeader: header, Term: term, LastLogIndex: 1 << 40, LastLogTerm: term,
		LeadershipTransfer: true}
	var voted raft.RequestVoteResponse
	pre := raft.RequestPreVoteRequest{RPCHeader: header, Term: term, LastLogIndex: 1 << 40, LastLogTerm: term}
	var before raft.RequestPreVoteResponse
	if err := errors.Join(asks.net.RequestPreVote(id, addr, &pre, &before),
		asks.net.RequestVote(id, addr, &vote, &voted)); err != nil {
		c.t.Fatal(err)
	}
	if before.Granted && !voted.Granted {
		c.t.Errorf("%s would vote and does not", of.cfg.ID)
	}
	return voted.Granted
}

// TestLostLogsNeverUndoAnEntry has one node after the other lose its log, after it acknowledged what one of the
// others lacks. With that other one it is a majority, which must not decide anything. Once the third one is back it is
// made whole, and nothing is missing anywhere.
func TestLostLogsNeverUndoAnEntry(t *testing.T) {
	c := newLossyCell(t, 3)
	rounds := 6
	if testing.Short() {
		rounds = 3
	}
	for range rounds {
		c.propose(1 + c.rand.IntN(5))
		c.settle()
		order := c.rand.Perm(3)
		loser, behind, third := c.servers[order[0]].ID, c.servers[order[1]].ID, c.servers[order[2]].ID
		c.stop(behind)
		c.propose(1 + c.rand.IntN(5))
		c.stop(loser)
		c.stop(third)
		way := c.lose(loser)
		c.t.Logf("%s loses its log: %s", loser, way)

		l, b := c.restart(loser), c.restart(behind)
		if l.Abstains() == nil {
			t.Fatalf("%s has lost its log (%s), and does not know it", loser, way)
		}
		if c.votes(l, b) {
			t.Fatalf("%s votes after it has lost its log (%s)", loser, way)
		}
		now := raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}}
		if err := b.net.TimeoutNow(raft.ServerID(loser), raft.ServerAddress(testAddr(loser)), &now,
			&raft.TimeoutNowResponse{}); err == nil {
			t.Errorf("%s stands for election after it has lost its log", loser)
		}
		c.restart(third)
		delete(c.groups, loser) // it cannot lead
		c.propose(1)
		c.groups[loser] = l
		at := c.settle()
		if err := l.WaitApplied(testContext(t), at); err != nil {
			t.Fatal(err)
		}
		if err := l.MadeWhole(); err != nil || l.Abstains() != nil {
			t.Fatalf("made whole: %v, abstains: %v", err, l.Abstains())
		}
		c.checkEqual()
		c.complete()
	}
	var any *Group
	for _, g := range c.groups {
		if any != nil && !c.votes(g, any) {
			t.Errorf("%s is whole and does not vote", g.cfg.ID)
		}
		any = g
	}
}

// complete fails unless every acknowledged entry is in the state of every node.
func (c *lossyCell) complete() {
	c.t.Helper()
	for id, g := range c.groups {
		has := map[string]int{}
		err := g.Entries(0, g.AppliedIndex(), func(e EntryInfo) bool {
			for _, cmd := range e.Commands {
				if s, ok := cmd.(*state.OpenSession); ok {
					has[s.Client]++
				}
			}
			return e.Err == nil
		})
		if err != nil {
			c.t.Fatal(err)
		}
		for _, name := range c.acked {
			if has[name] != 1 {
				c.t.Errorf("%s has the acknowledged entry %s %d times", id, name, has[name])
			}
		}
	}
}

// TestDamagedEntryIsNeitherStoredNorSent: a message with a damaged entry is refused before the engine sees it, and the
// node stays; one that turns up in the log stops the node, by name, before it is sent.
func TestDamagedEntryIsNeitherStoredNorSent(t *testing.T) {
	c := newCell(t, 3, nil)
	l := c.leader()
	if _, _, err := l.Propose(testContext(t), join("x")); err != nil {
		t.Fatal(err)
	}
	at := c.settle()
	var to *Group
	for _, g := range c.groups {
		if g != l {
			to = g
		}
	}
	var sound raft.Log
	if err := l.log.GetLog(uint64(at), &sound); err != nil {
		t.Fatal(err)
	}
	fields := map[string]func(*raft.Log){
		"data":  func(e *raft.Log) { e.Data = bytes.Clone(e.Data); e.Data[len(e.Data)/2] ^= 1 },
		"index": func(e *raft.Log) { e.Index++ },
		"term":  func(e *raft.Log) { e.Term++ },
		"type":  func(e *raft.Log) { e.Type = raft.LogNoop },
		"seal":  func(e *raft.Log) { e.Extensions = e.Extensions[1:] },
	}
	last := to.LastIndex()
	for name, damage := range fields {
		e := sound
		damage(&e)
		m := raft.AppendEntriesRequest{
			RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(l.cfg.ID),
				Addr: []byte(testAddr(l.cfg.ID))},
			Term: l.Term(), Entries: []*raft.Log{&e},
		}
		var r raft.AppendEntriesResponse
		err := l.net.AppendEntries(raft.ServerID(to.cfg.ID), raft.ServerAddress(testAddr(to.cfg.ID)), &m, &r)
		if err == nil || !strings.Contains(err.Error(), "not stored") {
			t.Errorf("%s damaged: %v, %+v", name, err, r)
		}
		if err := to.log.StoreLogs([]*raft.Log{&e}); !errors.As(err, new(*unsoundError)) {
			t.Errorf("%s damaged, to the store: %v", name, err)
		}
	}
	if got := to.DamagedEntries(); got != uint64(len(fields)) || to.Err() != nil || to.LastIndex() != last {
		t.Errorf("%d counted, err %v, last entry %d, want %d", got, to.Err(), to.LastIndex(), last)
	}
	c.checkEqual()
}

// TestDamagedEntryStopsTheNodeThatReadsIt: what the store answers is not what was stored.
func TestDamagedEntryStopsTheNodeThatReadsIt(t *testing.T) {
	c, stores := faultyCell(t, 3, nil)
	l := c.leader()
	_, at, err := l.Propose(testContext(t), join("x"))
	if err != nil {
		t.Fatal(err)
	}
	c.settle()
	// The store hands out its own copy, so that this is damage on the disk.
	var e raft.Log
	if err := stores[l.cfg.ID].InmemStore.GetLog(uint64(at), &e); err != nil {
		t.Fatal(err)
	}
	e.Data[len(e.Data)/2] ^= 1
	guard := &guard{log: l.log, stable: l.log, timeout: time.Minute, room: noRoom, fail: l.fail}
	var got raft.Log
	if err := guard.GetLog(uint64(at), &got); err != nil || len(got.Data) != 0 {
		t.Errorf("read %+v, %v", got, err)
	}
	var bad *CorruptError
	if err := awaitFailed(t, l); !errors.As(err, &bad) || bad.Index != at {
		t.Errorf("failed with %v, want entry %d named", err, at)
	}
	delete(c.groups, l.cfg.ID)
	if _, _, err := c.leader().Propose(testContext(t), join("y")); err != nil {
		t.Errorf("the rest of the cell: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func noRoom() bool { return false }

// panicking is a store that panics, or faults, where its file is damaged.
type panicking struct {
	*raft.InmemStore
	now bool
}

func (s *panicking) GetLog(i uint64, l *raft.Log) error {
	if s.now {
		panic(fmt.Sprintf("page %d: unexpected page type", i))
	}
	return s.InmemStore.GetLog(i, l)
}

// TestPanicOfTheStoreIsAnError, also of one that happens under the reader of the log.
func TestPanicOfTheStoreIsAnError(t *testing.T) {
	s := &panicking{InmemStore: raft.NewInmemStore(), now: true}
	store := &careful{LogStore: s, StableStore: s, file: "log.db"}
	var bad *CorruptError
	if err := store.GetLog(7, new(raft.Log)); !errors.As(err, &bad) || bad.Index != 7 || bad.File != "log.db" {
		t.Errorf("%v", err)
	}
}

// TestSnapshotLostAndMadeWhole: a node whose snapshots are all damaged, and whose log does not reach back, says so once
// and is then filled by the others.
func TestSnapshotLostAndMadeWhole(t *testing.T) {
	c := newLossyCell(t, 3)
	adjust := c.adjust
	c.adjust = func(cfg *Config) { adjust(cfg); cfg.TrailingLogs = 1 }
	id := c.servers[2].ID
	c.stop(id)
	c.restart(id)
	c.propose(5)
	c.settle()
	if err := c.groups[id].Snapshot(testContext(t)); err != nil {
		t.Fatal(err)
	}
	c.propose(2)
	c.settle()
	c.stop(id)
	states, err := filepath.Glob(filepath.Join(c.dir, string(id), "snapshots", "*", "state.bin"))
	if err != nil || len(states) == 0 {
		t.Fatal(states, err)
	}
	for _, path := range states {
		if err := os.Truncate(path, 20); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(c.config(id, c.servers)); err == nil || !errors.As(err, new(*CorruptError)) ||
		!strings.Contains(err.Error(), "start this node again") {
		t.Fatalf("first start: %v", err)
	}
	g := c.restart(id)
	if g.Abstains() == nil {
		t.Fatal("it votes")
	}
	delete(c.groups, id) // it cannot lead
	c.propose(1)
	c.groups[id] = g
	if err := g.WaitApplied(testContext(t), c.settle()); err != nil {
		t.Fatal(err)
	}
	if err := g.MadeWhole(); err != nil {
		t.Fatal(err)
	}
	c.checkEqual()
}
