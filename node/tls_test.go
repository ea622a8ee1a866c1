package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/datanode/datanode/node/transport"
	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/pki/pkitest"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/datanode/datanode/wire/mux"
)

// office makes certificates for a test.
type office struct {
	*pkitest.Office
	t *testing.T
}

func newOffice(t *testing.T, cluster string) *office { return &office{pkitest.New(t, cluster), t} }

// newSecureCell is newCellWith over TLS. Its client is an admin.
func newSecureCell(t *testing.T, o *office, voters, further int, change func(*Config)) *cell {
	c := newCellWith(t, voters, further, func(cfg *Config) {
		cfg.TLS = o.Files(pki.RoleNode, cfg.ID)
		change(cfg)
	})
	c.client.Close()
	c.clientTLS = o.Source(pki.RoleAdmin, "operator")
	c.client = c.as(c.clientTLS)
	return c
}

// as is a client of the cell with a certificate. The test closes it.
func (c *cell) as(source *pki.Source) *client.Client {
	var addrs []string
	for _, n := range c.nodes {
		addrs = append(addrs, n.Addr())
	}
	return client.New(client.Options{Addrs: addrs, Name: c.t.Name(), TLS: source})
}

// A cell over TLS stores, reads, deletes, loses a node's replicas to a decommission and takes in a new
// node, and each role may do what it may and no more.
func TestSecureCell(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	c := newSecureCell(t, o, 3, 1, func(*Config) {})
	bob := c.as(o.Source(pki.RoleClient, "bob"))
	defer bob.Close()

	big := pattern(7, 3<<20)
	loc, err := bob.Put(testContext(t), bytes.NewReader(big), client.PutOptions{Length: int64(len(big))})
	if err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		for id := range c.nodes {
			var got bytes.Buffer
			if _, err := bob.Read(testContext(t), wire.ReadRequest{Locator: loc}, &got); err != nil ||
				!bytes.Equal(got.Bytes(), big) {
				t.Errorf("%s: read %d bytes, %v; want what was put", id, got.Len(), err)
			}
		}
	}
	check()
	denied := func(what string, err error) {
		t.Helper()
		if wire.CodeOf(err) != wire.CodeDenied {
			t.Errorf("%s: got %v, want it denied", what, err)
		}
	}
	denied("setting", bob.SetSetting(testContext(t), "repair-delay", "2s"))
	_, err = bob.Submit(testContext(t), []wire.Submission{{Kind: "decommission", Node: "n1"}}, client.SubmitOptions{})
	denied("decommission", err)
	_, err = bob.Submit(testContext(t),
		[]wire.Submission{{Kind: "delete", Extent: loc.Extent}}, client.SubmitOptions{Force: true})
	denied("forced delete", err)

	if ops := c.run(wire.Submission{Kind: "decommission", Node: "n1"}); ops[0].State != "done" {
		t.Fatalf("decommission: %+v\n%s", ops, c.describe())
	}
	check()
	res, err := bob.Submit(testContext(t), []wire.Submission{{Kind: "delete", Extent: loc.Extent}}, client.SubmitOptions{})
	if err != nil || res[0].Code != 0 {
		t.Fatalf("delete: %+v, %v", res, err)
	}
	if _, err := bob.Wait(testContext(t), []string{res[0].Op}, nil); err != nil {
		t.Fatal(err)
	}
	if err := bob.Close(); err != nil {
		t.Error(err)
	}
}

// diary is a log that tests read.
type diary struct {
	mu   sync.Mutex
	text bytes.Buffer // Guarded by mu.
}

func (d *diary) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.Write(p)
}

func (d *diary) says(words ...string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, line := range strings.Split(d.text.String(), "\n") {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			return true
		}
	}
	return false
}

// stranger is one way of coming to a node that must not get anywhere.
type stranger struct {
	name   string
	pair   pki.Pair
	change func(*tls.Config)
	plain  bool
	send   []byte
	logged []string // words of the line that says why
}

func raftStart(cell, node string) []byte {
	b := append([]byte{wire.PreambleRaft, byte(len(cell))}, cell...)
	return append(append(b, byte(len(node))), node...)
}

func framesStart(t *testing.T, node string) []byte {
	body, err := wire.Marshal(&wire.Hello{
		Magic: wire.Magic, MinVersion: 1, MaxVersion: 1, Node: node, MaxFrameBytes: 1 << 20,
		WindowBytes: 1 << 20, SessionWindowBytes: 1 << 20, MaxInFlight: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return wire.AppendFrame([]byte{wire.PreambleFrames}, &wire.Header{Kind: wire.KindHello}, body, nil)
}

func strangers(t *testing.T, o *office) []stranger {
	later := time.Now().Add(time.Hour)
	bob, n2 := o.Pair(pki.RoleClient, "bob", later), o.Pair(pki.RoleNode, "n2", later)
	n1 := o.Pair(pki.RoleNode, "n1", later)
	raft := func(c *tls.Config) { c.NextProtos = []string{pki.ProtocolRaft} }
	return []stranger{
		{name: "other authority", pair: newOffice(t, "cell").Pair(pki.RoleNode, "n1", later),
			send: framesStart(t, "n1"), logged: []string{"unknown authority"}},
		{name: "other cluster", pair: newOffice(t, "cellar").Pair(pki.RoleNode, "n1", later),
			send: framesStart(t, "n1"), logged: []string{"unknown authority"}},
		{name: "expired", pair: o.Pair(pki.RoleClient, "bob", time.Now().Add(-2*time.Hour)),
			send: framesStart(t, ""), logged: []string{"expired"}},
		{name: "no certificate", change: func(c *tls.Config) { c.Certificates = nil },
			send: framesStart(t, ""), logged: []string{"certificate"}},
		{name: "TLS 1.2", pair: bob, change: func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
			send: framesStart(t, ""), logged: []string{"versions"}},
		{name: "no protocol", pair: bob, change: func(c *tls.Config) { c.NextProtos = nil },
			send: framesStart(t, ""), logged: []string{"client bob", "protocol"}},
		{name: "unknown protocol", pair: bob, change: func(c *tls.Config) { c.NextProtos = []string{"h2"} },
			send: framesStart(t, ""), logged: []string{"application protocol"}},
		{name: "client claims a node", pair: bob,
			send: framesStart(t, "n1"), logged: []string{`hello of node \"n1\"`, "client bob"}},
		{name: "node claims another", pair: n2,
			send: framesStart(t, "n1"), logged: []string{`hello of node \"n1\"`, "node n2"}},
		{name: "node claims none", pair: n2, send: framesStart(t, ""), logged: []string{`hello of node \"\"`, "node n2"}},
		{name: "client on raft", pair: o.Pair(pki.RoleClient, "n1", later), change: raft,
			send: raftStart("", "n1"), logged: []string{"client n1", "want a node's"}},
		{name: "raft claims another", pair: n2, change: raft,
			send: raftStart("", "n1"), logged: []string{`raft stream of node \"n1\"`, "node n2"}},
		{name: "raft of another cell", pair: n1, change: raft, send: raftStart("c-other", "n1"), logged: []string{"c-other"}},
		{name: "raft of a stranger", pair: o.Pair(pki.RoleNode, "n9", later), change: raft,
			send: raftStart("", "n9"), logged: []string{"node n9", "configuration"}},
		{name: "frames as raft", pair: n1, change: raft, send: framesStart(t, "n1"), logged: []string{"datanode-raft/1"}},
		{name: "raft as frames", pair: n1, send: raftStart("", "n1"), logged: []string{"datanode/1"}},
		{name: "plaintext frames", plain: true, send: framesStart(t, ""), logged: []string{"plaintext"}},
		{name: "plaintext raft", plain: true, send: raftStart("", "n1"), logged: []string{"plaintext"}},
		{name: "something else", plain: true, send: []byte("GET / HTTP/1.1\r\n\r\n"), logged: []string{"first byte 0x47"}},
	}
}

// Nobody gets in who should not, each for the reason that the log gives, and the node goes on.
func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	d := &diary{}
	c := newSecureCell(t, o, 1, 0, func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(d, nil)) })
	for _, s := range strangers(t, o) {
		t.Run(s.name, func(t *testing.T) {
			nc := s.come(t, o, c.nodes["n1"].Addr())
			defer nc.Close()
			// A write may fail: the node may have hung up. What counts is that nothing but its hello comes back.
			_, _ = nc.Write(s.send)
			hungUp := make(chan struct{})
			go func() {
				defer close(hungUp)
				_, _ = io.Copy(io.Discard, nc)
			}()
			c.untilTrue("the node hangs up", func() bool {
				for _, conn := range c.nodes["n1"].transport.Table().Scan() {
					if conn.Stats.Remote == nc.LocalAddr().String() {
						t.Fatalf("accepted as %s of %q", conn.Protocol, conn.Peer)
					}
				}
				select {
				case <-hungUp:
					return true
				default:
					return false
				}
			})
			c.untilTrue(fmt.Sprintf("the log says %q", s.logged), func() bool {
				return d.says(append(s.logged, "connection refused")...)
			})
		})
	}
	if _, err := c.client.Nodes(testContext(t)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func (s stranger) come(t *testing.T, o *office, addr string) net.Conn {
	nc, err := dialFromElsewhere(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	if s.plain {
		return nc
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(o.Cert)
	cfg := &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", NextProtos: []string{pki.ProtocolFrames}}
	if s.pair.Cert != nil {
		own, err := tls.X509KeyPair(s.pair.Cert, s.pair.Key)
		if err != nil {
			t.Fatal(err)
		}
		// Whatever the server asks for: an honest client would not offer what is of another authority.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }
	}
	if s.change != nil {
		s.change(cfg)
	}
	return tls.Client(nc, cfg)
}

// dialFromElsewhere dials from an address that hardly any other connection has, if the system has as many: a
// node makes an address wait whose connections end too often for what they did.
func dialFromElsewhere(ctx context.Context, addr string) (net.Conn, error) {
	n := rand.Uint32()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, byte(n>>16)|0x40, byte(n>>8), byte(n)|1)}}
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil && ctx.Err() == nil { // a system with one loopback address
		return transport.DialTCP(ctx, addr)
	}
	return nc, err
}

// Every call that is served has its role written down here. A new one is for nodes until it is.
func TestRolesOfCalls(t *testing.T) {
	want := map[pki.Role]string{
		pki.RoleClient: "put read append verify session submit ops show-op extents nodes status conns wait " +
			"settings inventory health policies log-list log-verify log-chain scrub punch disks ok-to-stop balance " +
			"blocked undelete",
		pki.RoleAdmin: "cancel setting node-remove reorder policy-load policy-activate policy-rollback log-snapshots " +
			"log-snapshot disk-change node-pause",
		pki.RoleNode: "policy-fetch join heartbeat propose " +
			"replica-create replica-append replica-fence replica-read replica-sum reach",
	}
	routes := new(Node).makeRoutes()
	got := map[pki.Role][]string{}
	for op := wire.OpType(1); op < 1024; op++ {
		if _, ok := routes[op]; ok {
			got[transport.RoleFor(op)] = append(got[transport.RoleFor(op)], op.String())
		}
	}
	for role, ops := range want {
		if have := strings.Join(got[role], " "); have != ops {
			t.Errorf("%s:\n got %s\nwant %s", role, have, ops)
		}
	}
}

// Calls between nodes are for nodes, whatever their body says.
func TestClientMakesNoPeerCalls(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	c := newSecureCell(t, o, 1, 0, func(*Config) {})
	ctx := testContext(t)
	addr := c.nodes["n1"].Addr()
	for _, role := range []pki.Role{pki.RoleClient, pki.RoleAdmin} {
		nc, err := transport.DialTCP(ctx, addr)
		if err != nil {
			t.Fatal(err)
		}
		tc, _, err := o.Source(role, "eve").Client(ctx, nc, addr, pki.ProtocolFrames)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := mux.Client(ctx, tc, mux.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, err = conn.Call(ctx, mux.Request{
			Op: wire.OpJoin, Session: wire.SessionControl,
			Body: &wire.JoinRequest{Node: "n2", Addr: addr, Incarnation: 1},
		})
		if wire.CodeOf(err) != wire.CodeDenied {
			t.Errorf("join as %s: %v, want it denied", role, err)
		}
		own := wire.SubmitRequest{Cell: true, Submit: []wire.Submission{{Kind: "delete", Extent: 1}}}
		_, err = conn.Call(ctx, mux.Request{Op: wire.OpSubmit, Session: wire.SessionControl, Body: &own})
		if wire.CodeOf(err) != wire.CodeDenied {
			t.Errorf("submit as the cell itself, as %s: %v, want it denied", role, err)
		}
	}
}

// A running node shows a new certificate as soon as its files are replaced, and trusts a new authority.
func TestCertificateReload(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	c := newSecureCell(t, o, 1, 0, func(*Config) {})
	serial := func(who *pki.Source) (string, error) {
		ctx := testContext(t)
		addr := c.nodes["n1"].Addr()
		nc, err := transport.DialTCP(ctx, addr)
		if err != nil {
			t.Fatal(err)
		}
		tc, _, err := who.Client(ctx, nc, addr, pki.ProtocolFrames)
		if err != nil {
			return "", err
		}
		defer tc.Close()
		return tc.ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
	}
	bob := o.Source(pki.RoleClient, "bob")
	before, err := serial(bob)
	if err != nil {
		t.Fatal(err)
	}
	o.Write(c.configs["n1"].TLS, o.Pair(pki.RoleNode, "n1", time.Now().Add(2*time.Hour)))
	if after, err := serial(bob); err != nil || after == before {
		t.Errorf("serial %s, %v, want another than %s", after, err, before)
	}

	next := newOffice(t, "cell")
	next.Write(c.configs["n1"].TLS, next.Pair(pki.RoleNode, "n1", time.Now().Add(time.Hour)))
	if _, err := serial(bob); err == nil {
		t.Error("the certificate of the old authority is still shown")
	}
	alice := c.as(next.Source(pki.RoleClient, "alice"))
	defer alice.Close()
	if _, err := alice.Nodes(testContext(t)); err != nil {
		t.Errorf("the new authority is not trusted: %v", err)
	}
}

// A node says before it starts why its certificate will not do.
func TestUnfitCertificate(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	start := func(change func(*Config)) error {
		cfg := Config{
			ID: "n1", Dir: t.TempDir(), Listen: "127.0.0.1:0",
			Bootstrap: []Peer{{"n1", "127.0.0.1:7400"}},
			TLS:       o.Files(pki.RoleNode, "n1"),
		}
		change(&cfg)
		n, err := Start(context.WithoutCancel(t.Context()), cfg)
		if err == nil {
			n.Close()
		}
		return err
	}
	oneLine(t, start(func(cfg *Config) { cfg.TLS = o.Files(pki.RoleNode, "n2") }), "node n2", "node n1", "cert node n1")
	oneLine(t, start(func(cfg *Config) { cfg.TLS = o.Files(pki.RoleClient, "n1") }), "client n1")
	oneLine(t, start(func(cfg *Config) { cfg.TLS.Key = "" }), "needs a certificate")
	oneLine(t, start(func(cfg *Config) { cfg.Advertise = "example.org:7400" }), "example.org", "--host example.org")
	oneLine(t, start(func(cfg *Config) { cfg.TLS, cfg.Listen = pki.Files{}, "0.0.0.0:0" }), "--insecure", "--tls-cert")
}
