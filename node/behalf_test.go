package node

import (
	"bytes"
	"slices"
	"testing"

	"github.com/datanode/datanode/node/transport"
	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/datanode/datanode/wire/mux"
)

// What people ask for is in the log with who they are, whichever node they ask; nobody but a node says that it asks
// for another.
func TestEntriesSayWhoAsked(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	c := newSecureCell(t, o, 3, 0, func(*Config) {})
	bob := c.as(o.Source(pki.RoleClient, "bob"))
	defer bob.Close()
	for id, n := range c.nodes {
		loc, err := c.client.Put(testContext(t), bytes.NewReader(pattern(1, 100)), client.PutOptions{Class: id, Length: 100})
		if err != nil {
			t.Fatal(err)
		}
		one := client.New(client.Options{Addrs: []string{n.Addr()}, Name: id, TLS: o.Source(pki.RoleClient, id)})
		res, err := one.Submit(testContext(t), []wire.Submission{{Kind: "seal", Extent: loc.Extent}}, client.SubmitOptions{})
		one.Close()
		if err != nil || res[0].Code != 0 {
			t.Fatalf("%+v, %v", res, err)
		}
		op, err := bob.Op(testContext(t), res[0].Op)
		if err != nil || op.AskedBy != "client/"+id {
			t.Errorf("through %s: asked by %q, %v", id, op.AskedBy, err)
		}
	}
	c.set("max-attempts", "9")
	if who := c.askers(func(cmd state.Command) bool {
		return cmd.CommandType() == state.TypeSetting
	}); !slices.Contains(who, "admin/operator") {
		t.Errorf("settings were asked for by %q", who)
	}

	conn := c.rawAs(o.Source(pki.RoleClient, "eve"), mux.Config{})
	_, err := conn.Call(testContext(t), mux.Request{
		Op: wire.OpStatus, Session: wire.SessionControl, OnBehalf: "admin/operator",
	})
	if wire.CodeOf(err) != wire.CodeDenied {
		t.Errorf("a client asks on behalf of an admin: %v", err)
	}
}

// askers are those who asked for the commands of the log that which picks.
func (c *cell) askers(which func(state.Command) bool) (all []state.Identity) {
	c.t.Helper()
	n := c.nodes[c.leader()]
	err := n.log.Entries(1, n.log.AppliedIndex(), func(e raftlog.EntryInfo) bool {
		for _, cmd := range e.Commands {
			if which(cmd) {
				all = append(all, state.AskedBy(cmd))
			}
		}
		return true
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return all
}

// rawAs is a connection to a node with a certificate, for calls that no client makes.
func (c *cell) rawAs(source *pki.Source, cfg mux.Config) *mux.Conn {
	c.t.Helper()
	ctx, addr := testContext(c.t), c.nodes[c.leader()].Addr()
	nc, err := transport.DialTCP(ctx, addr)
	if err != nil {
		c.t.Fatal(err)
	}
	tc, _, err := source.Client(ctx, nc, addr, pki.ProtocolFrames)
	if err != nil {
		c.t.Fatal(err)
	}
	conn, err := mux.Client(ctx, tc, cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	return conn
}
