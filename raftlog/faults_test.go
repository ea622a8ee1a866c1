package raftlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// TestAcknowledgedProposalsSurviveLeaderChanges cuts off one leader after the other under load.
// What was acknowledged must be in every log exactly once; what is NotDone in none.
func TestAcknowledgedProposalsSurviveLeaderChanges(t *testing.T) {
	c := newCell(t, 3, hasty)
	c.leader()
	load := startLoad(t, c, 8)
	for range 3 {
		l := c.leader()
		load.more(40) // proposals acknowledged while all is well
		c.net.isolate(testAddr(l.cfg.ID), true)
		delete(c.groups, l.cfg.ID) // so that leader finds another
		c.leader()
		load.more(40)
		c.net.isolate(testAddr(l.cfg.ID), false)
		c.groups[l.cfg.ID] = l
	}
	load.stop()
	c.settle()
	c.checkEqual()
	for id, g := range c.groups {
		seen := make(map[string]int)
		err := g.Entries(0, g.AppliedIndex(), func(e EntryInfo) bool {
			for _, cmd := range e.Commands {
				if s, ok := cmd.(*state.OpenSession); ok {
					seen[s.Client]++
				}
			}
			return e.Err == nil
		})
		if err != nil {
			t.Fatal(err)
		}
		load.check(t, id, seen)
	}
}

// TestLostLeadershipSaysNothing: a leader whose followers have the entry, but which hears nothing of
// that, must not say that it was not done: it is.
func TestLostLeadershipSaysNothing(t *testing.T) {
	c := newCell(t, 3, hasty)
	for tries := range 20 {
		old, name := c.leader(), fmt.Sprintf("unheard%d", tries)
		c.settle()
		c.net.deafen(testAddr(old.cfg.ID), true)
		_, _, err := old.Propose(testContext(t), join(name))
		c.net.deafen(testAddr(old.cfg.ID), false)
		c.settle()
		there := old.View().Node(state.NodeID(name)) != nil
		if wire.OutcomeOf(err) == wire.NotDone { // a busy machine had cost it its place before
			if there {
				t.Fatalf("the proposal was done, and the answer to it was %v (%s)", err, wire.OutcomeOf(err))
			}
			continue
		}
		if wire.OutcomeOf(err) != wire.Unknown || wire.CodeOf(err) != wire.CodeUnavailable {
			t.Errorf("proposal of a leader that hears nothing: %v, outcome %s", err, wire.OutcomeOf(err))
		}
		if !there {
			t.Log("no follower had the entry in time")
		}
		c.checkEqual()
		return
	}
	t.Error("no leader kept its place until it was asked")
}

// testLoad proposes from many goroutines, each to whichever node leads.
type testLoad struct {
	t        *testing.T
	groups   []*Group
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	mu       sync.Mutex
	outcomes map[string]wire.Outcome
	acked    chan struct{}
}

func startLoad(t *testing.T, c *testCell, proposers int) *testLoad {
	ctx, cancel := context.WithCancel(testContext(t))
	l := &testLoad{t: t, ctx: ctx, cancel: cancel, outcomes: make(map[string]wire.Outcome), acked: make(chan struct{})}
	for _, g := range c.groups {
		l.groups = append(l.groups, g)
	}
	for p := range proposers {
		l.wg.Go(func() {
			for r := 0; ctx.Err() == nil; r++ {
				l.propose(l.groups[(p+r)%len(l.groups)], fmt.Sprintf("p%d-%d", p, r))
			}
		})
	}
	return l
}

func (l *testLoad) propose(g *Group, name string) {
	_, _, err := g.Propose(l.ctx, &state.OpenSession{Client: name})
	outcome := wire.Done
	if err != nil {
		outcome = wire.OutcomeOf(err)
	}
	l.mu.Lock()
	l.outcomes[name] = outcome
	l.mu.Unlock()
	if err == nil {
		select {
		case l.acked <- struct{}{}:
		case <-l.ctx.Done():
		}
		return
	}
	_ = awaitLeader(l.ctx, slices.Values(l.groups)) // without one the run is over
}

// more waits for n proposals to be acknowledged.
func (l *testLoad) more(n int) {
	l.t.Helper()
	for i := range n {
		select {
		case <-l.acked:
		case <-l.ctx.Done():
			l.t.Fatalf("%d of %d proposals acknowledged: %v", i, n, l.ctx.Err())
		}
	}
}

func (l *testLoad) stop() {
	l.cancel()
	l.wg.Wait()
}

func (l *testLoad) check(t *testing.T, id state.NodeID, seen map[string]int) {
	counts := make(map[wire.Outcome]int)
	for name, outcome := range l.outcomes {
		counts[outcome]++
		switch n := seen[name]; {
		case outcome == wire.Done && n != 1:
			t.Errorf("%s: acknowledged %s is in the log %d times", id, name, n)
		case outcome == wire.NotDone && n != 0:
			t.Errorf("%s: %s is in the log, its proposer was told it is not", id, name)
		case n > 1:
			t.Errorf("%s: %s is in the log %d times", id, name, n)
		}
	}
	t.Logf("%s: %d acknowledged, %d not done, %d unknown", id, counts[wire.Done], counts[wire.NotDone],
		counts[wire.Unknown])
}

// faultyStore is a store in memory that fails on demand.
type faultyStore struct {
	*raft.InmemStore
	mu     sync.Mutex
	append error         // answer of StoreLogs
	term   error         // answer of SetUint64
	read   error         // answer of GetLog
	hang   chan struct{} // StoreLogs waits for it to close
}

func (s *faultyStore) set(change func(*faultyStore)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *faultyStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

func (s *faultyStore) StoreLogs(logs []*raft.Log) error {
	s.mu.Lock()
	err, hang := s.append, s.hang
	s.mu.Unlock()
	if hang != nil {
		<-hang
	}
	if err != nil {
		return err
	}
	return s.InmemStore.StoreLogs(logs)
}

func (s *faultyStore) SetUint64(k []byte, v uint64) error {
	s.mu.Lock()
	err := s.term
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.InmemStore.SetUint64(k, v)
}

func (s *faultyStore) GetLog(i uint64, l *raft.Log) error {
	s.mu.Lock()
	err := s.read
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.InmemStore.GetLog(i, l)
}

// faultyCell is a cell in memory whose stores can be made to fail.
func faultyCell(t *testing.T, n int, adjust func(*Config)) (*testCell, map[state.NodeID]*faultyStore) {
	stores := make(map[state.NodeID]*faultyStore)
	return newCell(t, n, func(cfg *Config) {
		s := &faultyStore{InmemStore: raft.NewInmemStore()}
		stores[cfg.ID] = s
		cfg.Stores = &Stores{log: s, stable: s, snapshots: raft.NewInmemSnapshotStore(), close: func() error { return nil }}
		if adjust != nil {
			adjust(cfg)
		}
	}), stores
}

func awaitFailed(t *testing.T, g *Group) error {
	t.Helper()
	select {
	case <-g.Failed():
	case <-testContext(t).Done():
		t.Fatal("the group has not failed")
	}
	return g.Err()
}

func TestHungDiskGivesUpLeadership(t *testing.T) {
	c, stores := faultyCell(t, 3, func(cfg *Config) { cfg.Timing.StoreWrite = 300 * time.Millisecond })
	old := c.leader()
	hang := make(chan struct{})
	stores[old.cfg.ID].set(func(s *faultyStore) { s.hang = hang })
	_, _, err := old.Propose(testContext(t), join("x"))
	outcome := wire.OutcomeOf(err)
	if outcome == wire.Done || wire.CodeOf(err) != wire.CodeUnavailable {
		t.Errorf("proposal to a hung disk: %v (%s)", err, outcome)
	}
	if err := awaitFailed(t, old); !errors.Is(err, errHung) {
		t.Errorf("failed with %v", err)
	}
	delete(c.groups, old.cfg.ID)
	next := c.leader()
	if next == old {
		t.Error("a node with a hung disk still leads")
	}
	// What hangs may be the entry with which a leader finds out how far it is, and the proposal waits behind it.
	if outcome == wire.NotDone && next.View().Node("x") != nil {
		t.Errorf("the proposal was done, and the answer to it was %v (%s)", err, outcome)
	}
	if err := old.Close(); !errors.Is(err, errHung) {
		t.Errorf("close: %v", err)
	}
	close(hang) // lets the engine's goroutines end
	_ = old.raft.Shutdown().Error()
}

func TestBrokenDiskStopsTheNode(t *testing.T) {
	broken := errors.New("input/output error")
	cases := map[string]func(*faultyStore){
		"append": func(s *faultyStore) { s.append = broken },
		"term":   func(s *faultyStore) { s.term = broken },
		"full":   func(s *faultyStore) { s.term = syscall.ENOSPC },
	}
	for name, fault := range cases {
		t.Run(name, func(t *testing.T) {
			c, stores := faultyCell(t, 3, nil)
			old := c.leader()
			stores[old.cfg.ID].set(fault)
			if name == "append" {
				_, _, err := old.Propose(testContext(t), join("x"))
				if err == nil {
					t.Error("a proposal was acknowledged that the leader could not store")
				}
			} else {
				_ = old.TransferLeadership(testContext(t)) // so that the next term must be written
			}
			if err := awaitFailed(t, old); err == nil {
				t.Error("failed without a reason")
			}
			delete(c.groups, old.cfg.ID)
			if _, _, err := c.leader().Propose(testContext(t), join("y")); err != nil {
				t.Errorf("the rest of the cell: %v", err)
			}
			if err := old.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFullDiskIsBorne: an append that finds the disk full is not acknowledged, but the node stays.
func TestFullDiskIsBorne(t *testing.T) {
	c, stores := faultyCell(t, 1, nil)
	g := c.leader()
	stores["n1"].set(func(s *faultyStore) { s.append = syscall.ENOSPC })
	_, _, err := g.Propose(testContext(t), join("x"))
	outcome := wire.OutcomeOf(err)
	if outcome == wire.Done {
		t.Errorf("proposal to a full disk: %v", err)
	}
	stores["n1"].set(func(s *faultyStore) { s.append = nil })
	if _, _, err := c.leader().Propose(testContext(t), join("y")); err != nil {
		t.Errorf("with room again: %v", err)
	}
	// The entry with which a leader finds out how far it is may have ended its lead before the proposal came.
	if outcome == wire.NotDone && g.View().Node("x") != nil {
		t.Errorf("the proposal was done, and the answer to it was %v", err)
	}
}

// Room is made for an entry and for a term as often as it helps, and no oftener.
func TestFullDiskMakesRoom(t *testing.T) {
	asked := 0
	var stores map[state.NodeID]*faultyStore
	var c *testCell
	c, stores = faultyCell(t, 1, func(cfg *Config) {
		cfg.MakeRoom = func() bool {
			if asked++; asked%3 == 0 {
				stores["n1"].set(func(s *faultyStore) { s.append, s.term = nil, nil })
			}
			return asked < 9
		}
	})
	g := c.leader()
	stores["n1"].set(func(s *faultyStore) { s.append = syscall.ENOSPC })
	if _, _, err := g.Propose(testContext(t), join("x")); err != nil || asked != 3 {
		t.Errorf("room was asked for %d times, want 3: %v", asked, err)
	}
	store := &guard{log: stores["n1"], stable: stores["n1"], timeout: time.Minute, hang: time.Minute, room: g.cfg.MakeRoom,
		fail: g.fail}
	stores["n1"].set(func(s *faultyStore) { s.term = syscall.ENOSPC })
	if err := store.SetUint64([]byte("CurrentTerm"), g.Term()); err != nil || g.Err() != nil || asked != 6 {
		t.Errorf("room was asked for %d times, want 6: %v, %v", asked, err, g.Err())
	}
	// The text is all that bbolt leaves of some errors. With no room to be made, the write is given up.
	asked = 9
	text := errors.New("file sync error: " + syscall.ENOSPC.Error())
	if err := store.within(func() error { return text }); err != text || asked != 10 {
		t.Errorf("room was asked for %d times, want 10: %v", asked, err)
	}
}

func TestUnknownEntryStopsTheNode(t *testing.T) {
	c := newCell(t, 3, nil)
	g := c.leader()
	newer := uint8(state.LevelNow) + 1
	skipped := AppendEntry(nil, Entry{Version: newer, Type: EntryCommands, Ignorable: true, Group: cellGroup})
	if f := g.raft.Apply(skipped, 0); f.Error() != nil {
		t.Fatal(f.Error())
	}
	c.settle()
	c.checkEqual()
	unknown := g.raft.Apply(AppendEntry(nil, Entry{Version: newer, Type: EntryCommands, Group: cellGroup}), 0)
	if err := unknown.Error(); err != nil {
		t.Fatal(err)
	}
	// The others meet it once they know that it is agreed on, and never pass it.
	var u *UnknownError
	if err := awaitFailed(t, g); !errors.As(err, &u) || uint64(u.Index) != unknown.Index() {
		t.Errorf("failed with %v, want an unknown entry %d", err, unknown.Index())
	}
	if _, _, err := g.Propose(testContext(t), join("x")); wire.OutcomeOf(err) != wire.NotDone {
		t.Errorf("proposal after the end: %v", err)
	}
	if err := g.Snapshot(testContext(t)); err == nil {
		t.Error("snapshot after the end")
	}
	for _, id := range []state.NodeID{"n1", "n2", "n3"} {
		last := c.groups[id]
		c.stop(id)
		if at := last.AppliedIndex(); uint64(at) >= unknown.Index() {
			t.Errorf("%s went on to %d", id, at)
		}
	}
}

func TestProposeSaysWhetherARetryIsSafe(t *testing.T) {
	c := newCell(t, 3, func(cfg *Config) { cfg.Timing.LeaderLease = 3 * time.Second }) // as long as it takes to find out
	l := c.leader()
	var follower *Group
	for _, g := range c.groups {
		if g != l {
			follower = g
		}
	}
	if err := follower.WaitApplied(testContext(t), l.AppliedIndex()); err != nil {
		t.Fatal(err)
	}
	_, _, err := follower.Propose(testContext(t), join("x"))
	if wire.OutcomeOf(err) != wire.NotDone || wire.CodeOf(err) != wire.CodeUnavailable ||
		!strings.Contains(err.Error(), string(l.cfg.ID)) {
		t.Errorf("to a follower: %v; want it to name the leader %s", err, l.cfg.ID)
	}
	many := make([]state.Command, maxEntryCommands+1)
	for i := range many {
		many[i] = &state.RollbackPolicy{}
	}
	if _, _, err := l.Propose(testContext(t), many...); wire.CodeOf(err) != wire.CodeInvalid {
		t.Errorf("of too many commands: %v", err)
	}
	if res, _, err := l.Propose(testContext(t), many[:maxEntryCommands]...); err != nil || len(res) != maxEntryCommands {
		t.Errorf("of the most commands: %d results, %v", len(res), err)
	}
	for _, g := range c.groups {
		c.net.isolate(testAddr(g.cfg.ID), true)
	}
	if _, _, err := l.Propose(testContext(t), join("x")); wire.OutcomeOf(err) != wire.Unknown && l.IsLeader() {
		t.Errorf("without a quorum: %v", err)
	}
	c.stop(l.cfg.ID)
	if _, _, err := l.Propose(testContext(t), join("x")); wire.OutcomeOf(err) != wire.NotDone {
		t.Errorf("after Close: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestSnapshotsAreCheckedBeforeTheyCount(t *testing.T) {
	c := newCell(t, 1, nil)
	g := c.leader()
	if _, _, err := g.Propose(testContext(t), &state.Genesis{Cell: "test"}, join("n1"), join("n2")); err != nil {
		t.Fatal(err)
	}
	whole := dump(t, g)
	if _, err := readSnapshot(bytes.NewReader(whole)); err != nil {
		t.Fatalf("a whole snapshot: %v", err)
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 0x10
		if _, err := readSnapshot(bytes.NewReader(b)); err == nil {
			t.Errorf("byte %d of %d flipped, not noticed", i, len(whole))
		}
		if _, err := readSnapshot(bytes.NewReader(whole[:i])); err == nil {
			t.Errorf("cut to %d of %d bytes, not noticed", i, len(whole))
		}
	}
	if _, err := readSnapshot(bytes.NewReader(append(whole, 0))); err == nil {
		t.Error("a byte too many, not noticed")
	}
}

func FuzzReadSnapshot(f *testing.F) {
	st := state.New()
	st.Apply(1, 5, []state.Command{&state.Genesis{Cell: "kiel"}, join("n1"), &state.OpenSession{Client: "c"}})
	var buf bytes.Buffer
	if err := (&snapshot{view: st.Snapshot(), chain: ChainPoint{Index: 1}}).write(&buf); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := readSnapshot(bytes.NewReader(b)); err == nil && s.st == nil {
			t.Fatal("neither a state nor an error")
		}
	})
}
