package node

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire/mux"
)

// Clients on the nodes' own machine take all connections that they may, of every node: the nodes still reach each
// other. One is started again, and the others agree on a leader when theirs is lost.
func TestClientsLeaveRoomForNodes(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	bob := o.source(pki.RoleClient, "bob")
	for name, secure := range map[string]bool{"TLS": true, "plaintext": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, source := (*cell)(nil), (*pki.Source)(nil)
			if secure {
				c, source = newSecureCell(t, o, 3, 0, func(*Config) {}), bob
			} else {
				c = newCell(t, 3, 0)
			}
			for id := range c.nodes {
				c.fill(id, source)
			}
			again := c.followers()[0]
			c.kill(again)
			c.start(again)
			c.ready(again)
			c.up(3)
			c.fill(again, source)
			c.kill(c.leader())
			c.up(2)
			c.leader()
		})
	}
}

// fill has clients take all connections of a node that they may, and makes sure that one more finds no room.
func (c *cell) fill(id string, source *pki.Source) {
	c.t.Helper()
	census := c.nodes[id].listener.census
	for census.crowd().allOfOne < maxConnsPerAddr {
		if _, err := c.comeAs(id, source); err != nil {
			c.t.Fatalf("with %+v: %v", census.crowd(), err)
		}
	}
	before := census.crowd()
	if conn, err := c.comeAs(id, source); err == nil {
		select {
		case <-conn.Done():
		case <-testContext(c.t).Done():
			c.t.Fatalf("one more client than %s has room for stays", id)
		}
	}
	if now := census.crowd(); now.refused == before.refused || now.nodes == 0 {
		c.t.Errorf("%s: %+v, before one more came %+v", id, now, before)
	}
}

// comeAs is a connection to a node, over TLS if there is a certificate.
func (c *cell) comeAs(id string, source *pki.Source) (*mux.Conn, error) {
	ctx, addr := testContext(c.t), c.nodes[id].Addr()
	nc, err := dialTCP(ctx, addr)
	if err == nil && source != nil {
		nc, err = secured(ctx, source, nc, addr)
	}
	if err != nil {
		return nil, err
	}
	conn, err := mux.Client(ctx, nc, mux.Config{})
	if err == nil {
		c.t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

func secured(ctx context.Context, source *pki.Source, nc net.Conn, addr string) (net.Conn, error) {
	tc, _, err := source.Client(ctx, nc, addr, pki.ProtocolFrames)
	return tc, err
}

// What clients may have is counted without nodes; who comes beyond it is let in to say who it is, a few at once; nodes
// have a bound, too.
func TestConnectionReserve(t *testing.T) {
	c := newCensus()
	c.kept.mayBeNode = func(addr string) bool { return addr != "10.0.0.7" }
	come := func(ip string) *fakeConn {
		nc := &fakeConn{from: fmt.Sprintf("%s:1", ip)}
		c.add(nc)
		return nc
	}
	is := func(what string, want crowd) {
		t.Helper()
		if now := c.crowd(); now != want {
			t.Errorf("%s: %+v, want %+v", what, now, want)
		}
	}
	for range maxConnsPerAddr {
		c.greeted(come("10.0.0.1"), "")
		c.greeted(come("10.0.0.7"), "")
	}
	is("full", crowd{all: 2 * maxConnsPerAddr, allOfOne: maxConnsPerAddr})
	if late := come("10.0.0.1"); late.closed || c.greeted(late, "") {
		t.Error("one more client has found room")
	} else {
		c.remove(late)
	}
	if !come("10.0.0.7").closed {
		t.Error("one more is let in from where no node can be")
	}
	is("refused", crowd{all: 2 * maxConnsPerAddr, allOfOne: maxConnsPerAddr, refused: 2})
	var nodes []*fakeConn
	for range maxConnsPerNode {
		nodes = append(nodes, come("10.0.0.1"))
		if !c.greeted(nodes[len(nodes)-1], "n2") {
			t.Fatal("a node finds no room")
		}
	}
	if more := come("10.0.0.1"); c.greeted(more, "n2") {
		t.Errorf("more than %d of one node", maxConnsPerNode)
	} else {
		c.remove(more)
	}
	want := crowd{all: 2 * maxConnsPerAddr, allOfOne: maxConnsPerAddr, refused: 3, nodes: maxConnsPerNode}
	is("with a node", want)
	first := come("10.0.0.1")
	for range maxGatePerAddr {
		come("10.0.0.1")
	}
	if !first.closed || c.kept.gate.Len() != maxGatePerAddr {
		t.Errorf("closed %t, %d at the gate; want the oldest closed of %d", first.closed, c.kept.gate.Len(), maxGatePerAddr)
	}
	for nc := range c.conns {
		c.remove(nc)
	}
	if is("in the end", crowd{refused: 4}); len(c.from) != 0 || len(c.kept.ofNode) != 0 || c.kept.gate.Len() != 0 {
		t.Errorf("left: %v, %v, %d at the gate", c.from, c.kept.ofNode, c.kept.gate.Len())
	}
}
