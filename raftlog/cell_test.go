package raftlog

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.uber.org/goleak"

	"github.com/datanode/datanode/raftlog/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testNet is a network of pipes in memory, on which nodes can be cut off.
type testNet struct {
	mu     sync.Mutex
	layers map[string]*testLayer
	cut    map[string]bool
	conns  map[net.Conn][2]string
	deaf   map[string]bool // hears no answer to what it sends
}

func newTestNet() *testNet {
	return &testNet{layers: make(map[string]*testLayer), cut: make(map[string]bool), conns: make(map[net.Conn][2]string),
		deaf: make(map[string]bool)}
}

type testLayer struct {
	net    *testNet
	addr   string
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (n *testNet) listen(addr string) *testLayer {
	l := &testLayer{net: n, addr: addr, accept: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.layers[addr] = l
	return l
}

// isolate cuts a node off from all others, or joins it again.
func (n *testNet) isolate(addr string, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[addr] = cut
	for c, ends := range n.conns {
		if cut && (ends[0] == addr || ends[1] == addr) {
			_ = c.Close()
			delete(n.conns, c)
		}
	}
}

func (l *testLayer) Addr() net.Addr { return address(l.addr) }

func (l *testLayer) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *testLayer) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *testLayer) Dial(addr string, timeout time.Duration) (net.Conn, error) {
	l.net.mu.Lock()
	to := l.net.layers[addr]
	cut := l.net.cut[addr] || l.net.cut[l.addr]
	l.net.mu.Unlock()
	if to == nil || cut {
		return nil, fmt.Errorf("no way from %s to %s", l.addr, addr)
	}
	here, there := net.Pipe()
	select {
	case to.accept <- there:
	case <-to.closed:
		return nil, net.ErrClosed
	}
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	if l.net.cut[addr] || l.net.cut[l.addr] {
		_ = here.Close()
		return nil, net.ErrClosed
	}
	l.net.conns[here] = [2]string{l.addr, addr}
	return &askingConn{Conn: here, from: l}, nil
}

// askingConn is the side of a connection that asks and reads answers.
type askingConn struct {
	net.Conn
	from *testLayer
}

// Read loses answers while the node is deaf.
func (c *askingConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		c.from.net.mu.Lock()
		deaf := c.from.net.deaf[c.from.addr]
		c.from.net.mu.Unlock()
		if err != nil || !deaf {
			return n, err
		}
	}
}

// deafen makes a node lose all answers. When it hears again its connections are new: those that lost
// something cannot be used.
func (n *testNet) deafen(addr string, deaf bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.deaf[addr] = deaf
	for c, ends := range n.conns {
		if !deaf && ends[0] == addr {
			_ = c.Close()
			delete(n.conns, c)
		}
	}
}

// testCell is a cell of nodes in one process, each with a directory of its own.
type testCell struct {
	t       testing.TB
	net     *testNet
	dir     string
	servers []Server
	groups  map[state.NodeID]*Group
	adjust  func(*Config)
}

// calmTiming is so patient that a machine busy with other things does not cost a leader its place. Tests do
// not wait for it: see testCell.campaign.
func calmTiming() Timing {
	return Timing{
		Heartbeat: 5 * time.Second, Election: 5 * time.Second, LeaderLease: 5 * time.Second,
		Commit: 2 * time.Millisecond, Snapshot: time.Hour,
		StoreHang: time.Minute, // a machine that stands still for some seconds in a write is not what is tested
	}
}

// hasty is for tests in which a leader has to notice that it is alone. A busy machine may cost it its place at any
// time, so they must bear that.
func hasty(cfg *Config) {
	cfg.Timing.Heartbeat, cfg.Timing.Election, cfg.Timing.LeaderLease = 150*time.Millisecond, 150*time.Millisecond,
		100*time.Millisecond
}

func testAddr(id state.NodeID) string { return string(id) + ":1" }

// newCell bootstraps a cell of n1 to nN. adjust, which may be nil, changes each node's config.
func newCell(t testing.TB, n int, adjust func(*Config)) *testCell {
	t.Helper()
	c := &testCell{t: t, net: newTestNet(), dir: t.TempDir(), groups: make(map[state.NodeID]*Group), adjust: adjust}
	for i := range n {
		id := state.NodeID(fmt.Sprintf("n%d", i+1))
		c.servers = append(c.servers, Server{ID: id, Addr: testAddr(id)})
	}
	t.Cleanup(c.close)
	for _, s := range c.servers {
		c.start(s.ID, c.servers)
	}
	return c
}

func (c *testCell) config(id state.NodeID, bootstrap []Server) Config {
	cfg := Config{
		Dir: filepath.Join(c.dir, string(id)), ID: id, Cell: "test", Advertise: testAddr(id),
		Layer: c.net.listen(testAddr(id)), Bootstrap: bootstrap, Timing: calmTiming(),
	}
	if c.adjust != nil {
		c.adjust(&cfg)
	}
	return cfg
}

func (c *testCell) start(id state.NodeID, bootstrap []Server) *Group {
	c.t.Helper()
	g, err := Open(c.config(id, bootstrap))
	if err != nil {
		c.t.Fatalf("open %s: %v", id, err)
	}
	c.groups[id] = g
	return g
}

func (c *testCell) stop(id state.NodeID) {
	c.t.Helper()
	if err := c.groups[id].Close(); err != nil {
		c.t.Errorf("close %s: %v", id, err)
	}
	delete(c.groups, id)
}

func (c *testCell) close() {
	for id := range c.groups {
		c.stop(id)
	}
}

// patience bounds every wait of these tests. It is long because the machine may be busy, and elections that fail take
// ten seconds each; nothing waits for it to pass.
const patience = 2 * time.Minute

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// leader waits until a node leads and has applied all that came before. Where none does it has one stand for
// election.
func (c *testCell) leader() *Group {
	c.t.Helper()
	ctx := testContext(c.t)
	for once := true; ; once = false {
		for _, g := range c.groups {
			if g.IsLeader() && g.Barrier(ctx) == nil {
				return g
			}
		}
		if once && !c.led() { // a second time would depose who was elected meanwhile
			c.campaign()
		}
		if err := awaitLeader(ctx, maps.Values(c.groups)); err != nil {
			c.t.Fatal(err)
		}
	}
}

// led reports whether a node leads.
func (c *testCell) led() bool {
	for _, g := range c.groups {
		if g.IsLeader() {
			return true
		}
	}
	return false
}

// campaign asks the voter with the longest log to stand for election at once, as a leader does that hands over its
// place. If it is not elected, somebody will be when the patience of all is at an end.
func (c *testCell) campaign() {
	var best *Group
	for _, s := range c.servers {
		if g := c.groups[s.ID]; g != nil && (best == nil || g.raft.LastIndex() > best.raft.LastIndex()) {
			best = g
		}
	}
	to := best.cfg.ID
	now := raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}}
	if err := best.net.TimeoutNow(raft.ServerID(to), raft.ServerAddress(testAddr(to)), &now,
		&raft.TimeoutNowResponse{}); err != nil {
		c.t.Logf("%s does not stand for election: %v", to, err)
	}
}

// awaitLeader waits until one of the groups leads, or the idea of one of them of who leads changes.
func awaitLeader(ctx context.Context, groups iter.Seq[*Group]) error {
	wake := make(chan struct{}, 1)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(stop)
	notify := func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	for g := range groups {
		changed := g.LeaderChanged()
		if g.IsLeader() {
			notify()
		}
		wg.Go(func() {
			select {
			case <-changed:
				notify()
			case <-stop:
			}
		})
	}
	select {
	case <-wake:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("no leader: %w", ctx.Err())
	}
}

// settle waits until all nodes have applied what the leader has, and answers that index.
func (c *testCell) settle() state.Index {
	c.t.Helper()
	at := c.leader().AppliedIndex()
	for id, g := range c.groups {
		if err := g.WaitApplied(testContext(c.t), at); err != nil {
			c.t.Fatalf("%s: %v", id, err)
		}
	}
	return at
}

// join is a command whose effect names who proposed it.
func join(id string) state.Command {
	return &state.Join{Node: state.NodeID(id), Addr: id + ":9", Incarnation: 1}
}

// dump is the whole state as bytes: the snapshot of it.
func dump(t testing.TB, g *Group) []byte {
	t.Helper()
	var buf bytes.Buffer
	chain, _ := g.machine.chainState()
	if err := (&snapshot{view: g.View(), chain: chain}).write(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// checkEqual compares the states and chains of all nodes once none has anything left to apply. A leader that has just
// begun may still write its first entry, which must not come in between.
func (c *testCell) checkEqual() {
	c.t.Helper()
	for {
		at := c.settle()
		dumps, chains := map[state.NodeID][]byte{}, map[state.NodeID]ChainPoint{}
		for id, g := range c.groups {
			dumps[id], chains[id] = dump(c.t, g), g.Chain()
		}
		moved := false
		for _, g := range c.groups {
			moved = moved || g.AppliedIndex() != at
		}
		if moved {
			continue
		}
		for id := range c.groups {
			if chains[id] != chains["n1"] {
				c.t.Errorf("chain of %s is %s, of n1 %s", id, chains[id], chains["n1"])
			}
			if !bytes.Equal(dumps[id], dumps["n1"]) {
				c.t.Errorf("state of %s differs from that of n1", id)
			}
		}
		return
	}
}
