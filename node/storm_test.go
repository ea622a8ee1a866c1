package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/datanode/datanode/node/datapath"
	"github.com/datanode/datanode/policies"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// leader is the node that leads, once there is one that is confirmed.
func (c *cell) leader() string {
	c.t.Helper()
	ctx := testContext(c.t)
	for {
		for id, n := range c.nodes {
			if n.log.IsLeader() && n.lead.Confirm(ctx) == nil {
				return id
			}
		}
		select {
		case <-c.any().log.LeaderChanged():
		case <-time.After(10 * time.Millisecond): // another node may have heard of it before
		case <-ctx.Done():
			c.t.Fatal("no leader in time")
		}
	}
}

func (c *cell) any() *Node {
	for _, n := range c.nodes {
		return n
	}
	c.t.Fatal("no node runs")
	return nil
}

// whole waits until all nodes that run are up and every extent has its replicas.
func (c *cell) whole() {
	c.t.Helper()
	c.up(len(c.nodes))
	c.until("every extent is whole", func(n *Node) bool {
		view, ok := n.log.View(), true
		view.Extents(0, func(e *state.Extent) bool {
			ok = ok && (e.State == state.ExtentDeleted || e.State == state.ExtentOpen ||
				e.State == state.ExtentSealed && view.Live(e) >= int(e.Want))
			return ok
		})
		return ok
	})
}

// writer puts until it is stopped, and remembers what was acknowledged.
type writer struct {
	wg    sync.WaitGroup
	stop  context.CancelFunc
	mu    sync.Mutex
	acked map[wire.Locator][]byte // Guarded by mu.
	more  chan struct{}           // a token for each acknowledgement that nobody has waited for yet
}

func (c *cell) write(writers int) *writer {
	ctx, stop := context.WithCancel(c.t.Context())
	w := &writer{stop: stop, acked: map[wire.Locator][]byte{}, more: make(chan struct{}, 100_000)}
	for i := range writers {
		w.wg.Add(1)
		go func() {
			defer w.wg.Done()
			for j := 0; ctx.Err() == nil; j++ {
				p := pattern(uint64(i*1_000_000+j), 1000+137*(j%50))
				loc, err := c.client.Put(ctx, bytes.NewReader(p), client.PutOptions{Length: int64(len(p))})
				if err != nil {
					continue // not acknowledged: nothing is promised
				}
				w.mu.Lock()
				w.acked[loc] = p
				w.mu.Unlock()
				w.more <- struct{}{}
			}
		}()
	}
	c.t.Cleanup(func() { stop(); w.wg.Wait() })
	return w
}

// wait waits for so many further acknowledgements.
func (w *writer) wait(t *testing.T, count int) {
	t.Helper()
	ctx := testContext(t)
	for range count {
		select {
		case <-w.more:
		case <-ctx.Done():
			t.Fatal("puts are not acknowledged any more")
		}
	}
}

// drain forgets the acknowledgements so far, so that wait is about new ones.
func (w *writer) drain() {
	for len(w.more) > 0 {
		<-w.more
	}
}

func (w *writer) end() map[wire.Locator][]byte {
	w.stop()
	w.wg.Wait()
	return w.acked
}

// everyReplica reads what was acknowledged from each replica that the cell counts as whole.
func (c *cell) everyReplica(acked map[wire.Locator][]byte) {
	c.t.Helper()
	view := c.nodes[c.leader()].log.View()
	for loc, want := range acked {
		e := view.Extent(state.ExtentID(loc.Extent))
		if e == nil {
			c.t.Fatalf("extent %d is lost", loc.Extent)
		}
		for _, r := range e.Replicas {
			if r.State != state.ReplicaWhole {
				continue
			}
			if got, err := c.get(loc, string(r.Node)); err != nil || !bytes.Equal(got, want) {
				c.t.Fatalf("%v on %s: %d bytes, %v", loc, r.Node, len(got), err)
			}
		}
	}
	c.t.Logf("%d puts were acknowledged", len(acked))
}

// Nodes are killed under puts, the primary of what is being written among them. Every acknowledged
// byte is on every replica afterwards, and writing has gone on in between.
func TestRestartUnderPuts(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 0)
	w := c.write(4)
	for _, id := range []string{"n2", "n3", "n1"} {
		w.wait(t, 20)
		c.kill(id)
		c.start(id)
		c.ready(id)
		c.up(3)
		w.drain()
	}
	w.wait(t, 20)
	acked := w.end()
	c.whole()
	c.everyReplica(acked)
}

// A node that is lost for good does not stop writing: its extents are sealed at a length that holds
// every acknowledged byte, and others are made on the rest.
func TestLostPrimary(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 1)
	w := c.write(4)
	w.wait(t, 40)
	// The client writes to one node: that is the primary of all.
	var primary state.NodeID
	c.nodes[c.leader()].log.View().Extents(0, func(e *state.Extent) bool {
		primary = e.Primary()
		return e.State != state.ExtentOpen
	})
	c.kill(string(primary))
	w.drain()
	w.wait(t, 40)
	acked := w.end()
	c.until("nothing is left on "+string(primary), func(n *Node) bool { return n.log.View().CountReplicas(primary) == 0 })
	c.whole()
	c.everyReplica(acked)
}

// A large put that breaks off leaves nothing: its extent is deleted, and no other operation is tried.
func TestPutBreaksOff(t *testing.T) {
	t.Parallel()
	cause := errors.New("the input broke")
	breakOff := func() (*cell, error) {
		c := newCell(t, 3, 0)
		_, err := c.client.Put(testContext(t),
			io.MultiReader(bytes.NewReader(pattern(1, 3*appendPiece)), iotest.ErrReader(cause)),
			client.PutOptions{})
		return c, err
	}
	c, err := breakOff()
	for tries := 1; wire.CodeOf(err) == wire.CodeUnavailable && tries < 5; tries++ { // a busy machine loses leaders
		t.Logf("in another cell: %v", err)
		c, err = breakOff()
	}
	if !errors.Is(err, cause) {
		t.Fatal(err)
	}
	c.until("the extent is gone", func(n *Node) bool {
		view := n.log.View()
		return view.NextExtent > 1 && view.Counts().Extents == 0
	})
	c.any().log.View().Ops(0, func(o *state.Op) bool {
		if o.State != state.OpDone {
			t.Errorf("%s %s is %s: %s", o.Kind, o.ID, o.State, o.Detail)
		}
		return true
	})
}

// A hundred puts at once share the few extents that a node fills; none is left behind.
func TestBurstOfPuts(t *testing.T) {
	t.Parallel()
	c := newCell(t, 1, 0)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if _, err := c.client.Put(testContext(t),
				bytes.NewReader(pattern(uint64(i), 100)), client.PutOptions{Length: 100}); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	if made := c.nodes["n1"].log.View().Counts().Extents; made > datapath.OpenPerTenant {
		t.Errorf("%d extents for a hundred small puts, want at most %d", made, datapath.OpenPerTenant)
	}
}

// The leader is killed again and again under a storm of operations. Each ends, and each was carried
// out once, however often its request had to be repeated.
func TestLeaderKilledInStorm(t *testing.T) {
	t.Parallel()
	c := newCell(t, 3, 1)
	s := &storm{c: c, client: c.client}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.run(ctx)
	}()
	for range 3 {
		s.wait(t, 8)
		id := c.leader()
		c.kill(id)
		c.leader()
		c.start(id)
		c.ready(id)
	}
	s.wait(t, 8)
	cancel()
	<-ended
	c.up(4)
	long, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	if _, err := c.client.Wait(long, s.ops, nil); err != nil {
		t.Fatalf("%v\n%s", err, c.describe())
	}
	c.whole()
	c.until("every delete has ended", deletesEnded)
	c.checkLog()
	for loc, want := range s.kept {
		if got, err := c.get(loc, ""); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: %d bytes, %v", loc, len(got), err)
		}
	}
	for _, loc := range s.deleted {
		if _, err := c.get(loc, ""); wire.CodeOf(err) != wire.CodeNotFound {
			t.Errorf("deleted extent %d can be read: %v", loc.Extent, err)
		}
	}
	t.Logf("%d operations, %d extents kept, %d deleted", len(s.ops), len(s.kept), len(s.deleted))
}

// storm submits operations of all kinds about extents that it puts. One goroutine owns it; what it
// has gathered may be read after that has ended.
type storm struct {
	c       *cell
	client  *client.Client
	ops     []string
	kept    map[wire.Locator][]byte
	deleted []wire.Locator

	mu    sync.Mutex
	count int // Guarded by mu. Rounds.
}

func (s *storm) run(ctx context.Context) {
	s.kept = map[wire.Locator][]byte{}
	for i := 0; ctx.Err() == nil; i++ {
		p := pattern(uint64(i), appendPiece+1000*i) // more than one piece: an extent of its own
		loc, err := s.client.Put(ctx, bytes.NewReader(p), client.PutOptions{Length: int64(len(p))})
		if err != nil {
			continue
		}
		subs := []wire.Submission{{Kind: "seal", Extent: loc.Extent}, {Kind: "repair", Extent: loc.Extent}}
		for _, from := range []string{"n1", "n2"} {
			subs = append(subs, wire.Submission{Kind: "move", Extent: loc.Extent, Node: from})
		}
		if i%2 == 0 {
			subs = append(subs, wire.Submission{Kind: "delete", Extent: loc.Extent})
			s.deleted = append(s.deleted, loc)
		} else {
			s.kept[loc] = p
		}
		s.submit(subs)
		s.mu.Lock()
		s.count++
		s.mu.Unlock()
	}
}

// submit goes on until each is answered: the client repeats what may not have been admitted.
func (s *storm) submit(subs []wire.Submission) {
	ctx, cancel := context.WithTimeout(s.c.t.Context(), 3*patience)
	defer cancel()
	for _, sub := range subs {
		for {
			res, err := s.client.Submit(ctx, []wire.Submission{sub}, client.SubmitOptions{})
			if err == nil && res[0].Code != wire.CodeConflict && res[0].Op != "" {
				s.ops = append(s.ops, res[0].Op)
			}
			// An extent that is gone was deleted by an attempt whose answer did not arrive.
			if err == nil && (sub.Kind != "delete" || res[0].Code == 0 || res[0].Code == wire.CodeNotFound) {
				break
			}
			if ctx.Err() != nil {
				s.c.t.Errorf("%s of extent %d is not admitted: %v %+v", sub.Kind, sub.Extent, err, res)
				return
			}
		}
	}
}

func (s *storm) wait(t *testing.T, rounds int) {
	t.Helper()
	ctx := testContext(t)
	s.mu.Lock()
	want := s.count + rounds
	s.mu.Unlock()
	for {
		s.mu.Lock()
		done := s.count >= want
		s.mu.Unlock()
		if done {
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("the storm stands still\n%s", s.c.describe())
		}
	}
}

// deletesEnded reports whether no delete is under way. Those whose answer was lost are not among the operations that
// the storm knows and waits for.
func deletesEnded(n *Node) bool {
	ended := true
	n.log.View().Ops(0, func(o *state.Op) bool {
		ended = o.Kind != policies.KindDelete || o.State.Ended()
		return ended
	})
	return ended
}

// checkLog goes through the log of a node: no request made two operations, no operation ended twice,
// and the logs of all nodes are the same.
func (c *cell) checkLog() {
	c.t.Helper()
	n := c.nodes[c.leader()]
	view := n.log.View()
	made := map[state.Request][]state.OpID{}
	err := n.log.Entries(1, n.log.AppliedIndex(), func(e raftlog.EntryInfo) bool {
		for i, cmd := range e.Commands {
			a, ok := cmd.(*state.Admit)
			if !ok || a.Request.Session == 0 {
				continue
			}
			if id := state.NewOpID(e.Index, i); view.Op(id) != nil {
				made[a.Request] = append(made[a.Request], id)
			}
		}
		return true
	})
	if err != nil {
		c.t.Fatal(err)
	}
	for req, ids := range made {
		if len(ids) != 1 {
			c.t.Errorf("request %+v made the operations %v", req, ids)
		}
	}
	view.Ops(0, func(o *state.Op) bool {
		ends := 0
		for _, step := range o.Steps {
			if step.State.Ended() {
				ends++
			}
		}
		if ends > 1 || o.Kind == policies.KindDelete && !o.State.Ended() {
			c.t.Errorf("%s %s is %s and has ended %d times: %+v", o.Kind, o.ID, o.State, ends, o.Steps)
		}
		return true
	})
	c.sameChain()
}

// sameChain compares the logs of all nodes by their chain hashes at one index.
func (c *cell) sameChain() {
	c.t.Helper()
	at := c.nodes[c.leader()].log.Chain()
	for _, id := range slices.Sorted(maps.Keys(c.nodes)) {
		if err := c.nodes[id].log.WaitApplied(testContext(c.t), at.Index); err != nil {
			c.t.Fatal(err)
		}
		got, err := c.nodes[id].log.ChainAt(at.Index)
		if compacted := (*raftlog.CompactedError)(nil); errors.As(err, &compacted) {
			continue
		}
		if err != nil || fmt.Sprint(got) != fmt.Sprint(at) {
			c.t.Errorf("chain of %s at %d: %v %v, want %v", id, at.Index, got, err, at)
		}
	}
}

// A put that cannot be read twice, such as one from a pipe, outlives a change of the leader: the node asks for its
// extent until it knows that it has one, and only one.
func TestPipeWithoutLeader(t *testing.T) {
	t.Parallel()
	c := newCell(t, 4, 0)
	want := pattern(5, 2*appendPiece)
	put := func() (wire.Locator, error) {
		leader := c.leader()
		ids := slices.Sorted(maps.Keys(c.nodes))
		follower := ids[(slices.Index(ids, leader)+1)%len(ids)]
		one := client.New(client.Options{Addrs: []string{c.nodes[follower].Addr()}, Name: t.Name()})
		defer one.Close()
		c.kill(leader)
		loc, err := one.Put(testContext(t), io.MultiReader(bytes.NewReader(want)), client.PutOptions{Class: "pipe"})
		c.start(leader)
		c.ready(leader)
		c.up(4)
		return loc, err
	}
	loc, err := put()
	// All three that are left must agree, and on a busy machine that may take longer than a put is kept waiting.
	for tries := 1; wire.CodeOf(err) == wire.CodeUnavailable && tries < 5; tries++ {
		t.Logf("without another leader: %v", err)
		loc, err = put()
	}
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.get(loc, ""); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
