package node

import (
	"context"
	"net"
	"testing"

	"github.com/datanode/datanode/node/transport"
	"github.com/datanode/datanode/node/transport/connlimit"
	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire/mux"
)

// Clients on the nodes' own machine take all connections that they may, of every node: the nodes still reach each
// other. One is started again, and the others agree on a leader when theirs is lost.
func TestClientsLeaveRoomForNodes(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	bob := o.Source(pki.RoleClient, "bob")
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
	limits := c.nodes[id].transport.Limits()
	for limits.Crowd().AllOfOne < connlimit.MaxConnsPerAddr {
		if _, err := c.comeAs(id, source); err != nil {
			c.t.Fatalf("with %+v: %v", limits.Crowd(), err)
		}
	}
	before := limits.Crowd()
	if conn, err := c.comeAs(id, source); err == nil {
		select {
		case <-conn.Done():
		case <-testContext(c.t).Done():
			c.t.Fatalf("one more client than %s has room for stays", id)
		}
	}
	if now := limits.Crowd(); now.Refused == before.Refused || now.Nodes == 0 {
		c.t.Errorf("%s: %+v, before one more came %+v", id, now, before)
	}
}

// comeAs is a connection to a node, over TLS if there is a certificate.
func (c *cell) comeAs(id string, source *pki.Source) (*mux.Conn, error) {
	ctx, addr := testContext(c.t), c.nodes[id].Addr()
	nc, err := transport.DialTCP(ctx, addr)
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
