package raftlog

import (
	"context"
	"maps"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// A leader whose log hangs leads nobody any more, answers those who wait for it, and leaves the lead to another long
// before a follower would miss it; when the disk answers it follows, and nothing that was acknowledged is missing.
func TestHungLogIsLedByAnother(t *testing.T) {
	c, stores := faultyCell(t, 3, func(cfg *Config) {
		cfg.Timing.StoreHang = 100 * time.Millisecond
		cfg.Timing.StoreWrite = time.Hour
		// Followers that would only miss its heartbeats would be late for the test.
		cfg.Timing.Heartbeat, cfg.Timing.Election, cfg.Timing.LeaderLease = time.Minute, time.Minute, 30*time.Second
	})
	old := c.leader()
	if _, _, err := old.Propose(testContext(t), join("before")); err != nil {
		t.Fatal(err)
	}
	old, _ = c.heirs()
	hang := make(chan struct{})
	stores[old.cfg.ID].set(func(s *faultyStore) { s.hang = hang })
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			_, _, err := old.Propose(testContext(t), join("during"))
			if wire.CodeOf(err) != wire.CodeUnavailable {
				t.Errorf("proposal to a log that hangs: %v", err)
			}
		})
	}
	wg.Wait()
	if old.IsLeader() || old.Hangs() == nil || old.Err() != nil {
		t.Errorf("leads %t, hangs %v, failed %v", old.IsLeader(), old.Hangs(), old.Err())
	}
	delete(c.groups, old.cfg.ID)
	for !c.led() { // not c.leader, which has somebody stand for election
		if err := awaitLeader(testContext(t), maps.Values(c.groups)); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := c.leader().Propose(testContext(t), join("after")); err != nil {
		t.Fatal(err)
	}
	stores[old.cfg.ID].set(func(s *faultyStore) { s.hang = nil })
	close(hang)
	for changed := old.HangChanged(); old.Hangs() != nil; changed = old.HangChanged() {
		<-changed
	}
	c.groups[old.cfg.ID] = old
	c.settle()
	c.checkEqual()
	for _, id := range []state.NodeID{"before", "after"} {
		if old.View().Node(id) == nil {
			t.Errorf("the node whose log hung lacks %s", id)
		}
	}
}

// heirs waits until all other voters have answered the leader, whichever that is by then.
func (c *testCell) heirs() (leader *Group, heirs []raft.Server) {
	c.t.Helper()
	ctx := testContext(c.t)
	for {
		leader = c.leader()
		heirs, err := leader.heirs()
		if err == nil && len(heirs) == len(c.groups)-1 {
			return leader, heirs
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			c.t.Fatalf("%d heirs, %v", len(heirs), err)
		}
	}
}

// frozenLayer makes a node take no notice of what arrives, as a stopped process: connections stay, nothing is answered.
type frozenLayer struct {
	*testLayer
	gate func() // waits while the node is frozen
}

func (l *frozenLayer) Accept() (net.Conn, error) {
	c, err := l.testLayer.Accept()
	if err != nil {
		return nil, err
	}
	return &frozenConn{Conn: c, gate: l.gate}, nil
}

type frozenConn struct {
	net.Conn
	gate func()
}

func (c *frozenConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.gate()
	return n, err
}

// A voter that is frozen does not get the lead, not even when it is the only one that was heard from, and the leader
// refuses proposals for no longer than about an election; one that was not heard from lately is not asked at all.
func TestLeadIsNotHandedToTheFrozen(t *testing.T) {
	thaw := make(chan struct{})
	thawn := sync.OnceFunc(func() { close(thaw) })
	var mu sync.Mutex
	frozen := map[state.NodeID]bool{}
	c := newCell(t, 3, func(cfg *Config) {
		hasty(cfg)
		id := cfg.ID
		cfg.Layer = &frozenLayer{testLayer: cfg.Layer.(*testLayer), gate: func() {
			mu.Lock()
			is := frozen[id]
			mu.Unlock()
			if is {
				<-thaw
			}
		}}
	})
	defer thawn() // or the cell could not be closed after a failure
	old, heirs := c.heirs()
	mu.Lock()
	frozen[state.NodeID(heirs[0].ID)] = true
	mu.Unlock()
	// It was heard from just now, and so is asked first.
	ctx, cancel := context.WithTimeout(testContext(t), rpcTimeout)
	defer cancel()
	for old.IsLeader() { // again on a machine so busy that the other voter is late, too
		if err := old.TransferLeadership(ctx); err != nil && ctx.Err() != nil {
			t.Fatalf("not handed on: %v", err)
		}
	}
	next := c.leader()
	if next == old {
		t.Errorf("%s still leads", next.cfg.ID)
	}
	if _, _, err := next.Propose(testContext(t), join("x")); err != nil {
		t.Error(err)
	}
	thawn()
	// the one that was frozen may obey now, late
	if _, _, err := c.leader().Propose(testContext(t), join("y")); err != nil {
		t.Error(err)
	}
}
