package node

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/datanode/datanode/node/transport"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// cable is what the nodes of a cell are connected by. Unplugging a node breaks its connections to
// the others, both ways; clients still reach it.
type cable struct {
	mu    sync.Mutex
	out   string                 // Guarded by mu. The address of the node that is unplugged.
	conns map[net.Conn][2]string // Guarded by mu. Who dialed whom, by address.
}

var errUnplugged = errors.New("unplugged")

func (c *cable) dialFor(from string) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, to string) (net.Conn, error) {
		nc, err := transport.DialTCP(ctx, to)
		if err != nil {
			return nil, err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.out != "" && (from == c.out || to == c.out) {
			nc.Close()
			return nil, errUnplugged
		}
		c.conns[nc] = [2]string{from, to}
		return nc, nil
	}
}

// unplug takes the node at addr off; an empty addr plugs it in again.
func (c *cable) unplug(addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = addr
	for nc, ends := range c.conns {
		if addr != "" && (ends[0] == addr || ends[1] == addr) {
			nc.Close()
			delete(c.conns, nc)
		}
	}
}

// A primary that is cut off from the other nodes, but not from its clients, acknowledges nothing:
// the others seal its extents at a length that holds every acknowledged byte, and writing goes on
// with them. When it comes back, every acknowledged byte is on every replica.
func TestPrimaryCutOff(t *testing.T) {
	t.Parallel()
	net := &cable{conns: map[net.Conn][2]string{}}
	c := newCellWith(t, 3, 1, func(cfg *Config) { cfg.Dial = net.dialFor(cfg.Listen) })
	only := client.New(client.Options{Addrs: []string{c.configs["n1"].Listen}, Name: "beside n1", RetryFor: time.Second})
	defer only.Close()
	acked := map[wire.Locator][]byte{}
	put := func(cl *client.Client, seed uint64) error {
		p := pattern(seed, 20_000)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		loc, err := cl.Put(ctx, bytes.NewReader(p), client.PutOptions{Length: int64(len(p))})
		if err == nil {
			acked[loc] = p
		}
		return err
	}
	for i := range 8 {
		if err := put(only, uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	net.unplug(c.configs["n1"].Listen)
	for i := range 3 {
		if err := put(only, uint64(100+i)); err == nil {
			t.Fatal("a primary that reaches no other replica has acknowledged a put")
		}
	}
	c.untilTrue("the others have sealed what n1 was filling", func() bool {
		view, sealed := c.nodes["n2"].log.View(), true
		view.Extents(0, func(e *state.Extent) bool {
			sealed = sealed && (e.State != state.ExtentOpen || e.Primary() != "n1")
			return sealed
		})
		return sealed && view.Node("n1").State == state.NodeDown
	})
	others := client.New(client.Options{
		Addrs: []string{c.configs["n2"].Listen, c.configs["n3"].Listen},
		Name:  "the others",
	})
	defer others.Close()
	if err := put(others, 200); err != nil {
		t.Fatalf("the cell does not write without n1: %v", err)
	}
	net.unplug("")
	c.whole()
	c.everyReplica(acked)
	c.sameChain()
}
