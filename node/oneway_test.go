package node

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/datanode/datanode/node/transport"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// oneWay is a network on which, while it is cut, nothing arrives at one node that another sends. The other direction
// works. Nobody gets an error: connections stay open, and dials wait.
type oneWay struct {
	mu       sync.Mutex
	from, to string // Guarded by mu. Addresses; empty while all works.
}

// set loses what is sent from one address to another from now on. With empty ones all works again.
func (w *oneWay) set(from, to string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.from, w.to = from, to
}

// lost reports whether bytes from one address to another are lost now.
func (w *oneWay) lost(from, to string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.from == from && w.to == to
}

func (w *oneWay) dialFor(from string) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, to string) (net.Conn, error) {
		if w.lost(from, to) || w.lost(to, from) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		nc, err := transport.DialTCP(ctx, to)
		return &oneWayConn{Conn: nc, net: w, from: from, to: to}, err
	}
}

// oneWayConn breaks when the line works again and bytes are missing, as the kernel would see to it.
type oneWayConn struct {
	net.Conn
	net      *oneWay
	from, to string
	torn     atomic.Bool
}

func (c *oneWayConn) lose(from, to string) (bool, error) {
	switch {
	case c.net.lost(from, to):
		c.torn.Store(true)
		return true, nil
	case c.torn.Load():
		return false, errors.Join(net.ErrClosed, c.Close())
	}
	return false, nil
}

func (c *oneWayConn) Write(p []byte) (int, error) {
	if lost, err := c.lose(c.from, c.to); lost || err != nil {
		return len(p), err
	}
	return c.Conn.Write(p)
}

func (c *oneWayConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil {
			return n, err
		}
		if lost, err := c.lose(c.to, c.from); !lost {
			return n, err
		}
	}
}

// putAt puts at one node, within less than the time that a single step may take: that long, a step to a node that is
// not there would hold it up.
func (c *cell) putAt(id string, p []byte) (wire.Locator, error) {
	c.t.Helper()
	one := client.New(client.Options{Addrs: []string{c.configs[id].Listen}, Name: c.t.Name()})
	defer one.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), c.nodes[id].time.stepLimit*4/5)
	defer cancel()
	return one.Put(ctx, bytes.NewReader(p), client.PutOptions{Length: int64(len(p))})
}

// When the leader hears nothing of a follower that still hears it, puts at the two sound nodes go on, and what was
// acknowledged is on every replica once the line works again.
func TestOneWayCut(t *testing.T) {
	t.Parallel()
	line := &oneWay{}
	c := newCellWith(t, 3, 0, func(cfg *Config) { cfg.Dial = line.dialFor(cfg.Listen) })
	acked := map[wire.Locator][]byte{}
	leader := c.leader()
	follower, other := "n1", "n3"
	switch leader {
	case "n1":
		follower = "n2"
	case "n3":
		other = "n2"
	}
	put := func(at string, seed uint64) {
		t.Helper()
		p := pattern(seed, 30_000)
		loc, err := c.putAt(at, p)
		if err != nil {
			t.Fatalf("put at %s while the leader %s does not hear %s: %v", at, leader, follower, err)
		}
		acked[loc] = p
	}
	for i, id := range []string{"n1", "n2", "n3"} {
		put(id, uint64(i))
	}
	line.set(c.configs[follower].Listen, c.configs[leader].Listen)
	for i := range 8 {
		put(leader, uint64(100+i))
		put(other, uint64(200+i))
	}
	c.untilTrue("the leader has called it down", func() bool {
		return c.nodes[leader].log.View().Node(state.NodeID(follower)).State == state.NodeDown
	})
	put(leader, 300)
	put(other, 301)
	line.set("", "")
	c.up(3)
	c.whole()
	c.everyReplica(acked)
	c.sameChain()
}
