package raftlog

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
)

// Followers whose disk is full now and then say that they have not appended what they were sent, while more is on its
// way. Each has all of it soon after there is room again.
func TestFollowersThatRefuseCatchUp(t *testing.T) {
	c, stores := faultyCell(t, 3, nil)
	l := c.leader()
	var id state.NodeID
	for other := range c.groups {
		if other != l.cfg.ID {
			id = max(id, other)
		}
	}
	for round := range 12 {
		stores[id].set(func(s *faultyStore) { s.append = syscall.ENOSPC })
		var wg sync.WaitGroup
		for p := range 8 {
			wg.Go(func() {
				for r := range 5 {
					name := fmt.Sprintf("r%d-%d-%d", round, p, r)
					if _, _, err := l.Propose(testContext(t), join(name)); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
			})
		}
		wg.Wait()
		stores[id].set(func(s *faultyStore) { s.append = nil })
		_, at, err := l.Propose(testContext(t), join(fmt.Sprintf("r%d", round)))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.groups[id].WaitApplied(testContext(t), at); err != nil {
			t.Fatalf("round %d: %s does not catch up: %v", round, id, err)
		}
	}
	c.checkEqual()
}

// What is sent does not wait for an answer to be taken. Answers come in order, and a pipeline of which none is taken
// ends.
func TestPipelineIsAlwaysTaken(t *testing.T) {
	c := newCell(t, 3, nil)
	l := c.leader()
	var to state.NodeID
	for id := range c.groups {
		if id != l.cfg.ID {
			to = id
		}
	}
	open := func() raft.AppendPipeline {
		p, err := l.net.AppendEntriesPipeline(raft.ServerID(to), raft.ServerAddress(testAddr(to)))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	send := func(p raft.AppendPipeline, commit uint64) error { // it is a heartbeat
		_, err := p.AppendEntries(&raft.AppendEntriesRequest{
			RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(l.cfg.ID),
				Addr: []byte(testAddr(l.cfg.ID))},
			Term: l.Term(), LeaderCommitIndex: commit,
		}, new(raft.AppendEntriesResponse))
		return err
	}
	within := func(what string, do func() error) error {
		t.Helper()
		done := make(chan error, 1)
		go func() { done <- do() }()
		select {
		case err := <-done:
			return err
		case <-testContext(t).Done():
			t.Fatalf("%s: it waits for ever", what)
			return nil
		}
	}

	p := open()
	const few = 10
	for i := range uint64(few) {
		if err := within("sending", func() error { return send(p, i) }); err != nil {
			t.Fatal(err)
		}
	}
	for i := range uint64(few) {
		if f := <-p.Consumer(); f.Request().LeaderCommitIndex != i {
			t.Errorf("answer %d is that of %d", i, f.Request().LeaderCommitIndex)
		}
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}

	p = open()
	err := within("sending what nobody takes answers of", func() error {
		for range 2 * maxUntaken {
			if err := send(p, 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		t.Errorf("%d answers are kept that nobody takes", 2*maxUntaken)
	}
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Error(err)
	}
}
