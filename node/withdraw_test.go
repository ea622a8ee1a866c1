package node

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/datanode/datanode/node/health"
	"github.com/datanode/datanode/node/transport"
	"github.com/datanode/datanode/node/transport/connlimit"
	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// denyList is a file that a test's nodes read.
type denyList struct {
	o    *office
	file string
}

func (o *office) denyList() denyList {
	o.t.Helper()
	d := denyList{o, filepath.Join(o.t.TempDir(), "revoked.pem")}
	d.withdraw()
	return d
}

// withdraw adds certificates, each the one in a file, and replaces the list.
func (d denyList) withdraw(certs ...string) {
	d.o.t.Helper()
	old, err := os.ReadFile(d.file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		d.o.t.Fatal(err)
	}
	var serials []*big.Int
	for _, name := range certs {
		serials = append(serials, serialOf(d.o.t, name))
	}
	text, _, err := d.o.Authority.Withdraw(old, serials, time.Now())
	if err != nil {
		d.o.t.Fatal(err)
	}
	d.write(text)
}

func (d denyList) write(text []byte) {
	d.o.t.Helper()
	if err := errors.Join(os.WriteFile(d.file+".new", text, 0o600), os.Rename(d.file+".new", d.file)); err != nil {
		d.o.t.Fatal(err)
	}
}

func serialOf(t *testing.T, name string) *big.Int {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert.SerialNumber
}

func openSource(t *testing.T, f pki.Files) *pki.Source {
	t.Helper()
	s, err := pki.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// halfPut is a put whose bytes stop coming half way.
type halfPut struct {
	rest *io.PipeWriter
	err  chan error
}

// putHalf begins a put as somebody, and returns once a node has it in hand.
func (c *cell) putHalf(who *client.Client, name string) halfPut {
	c.t.Helper()
	r, w := io.Pipe()
	p := halfPut{rest: w, err: make(chan error, 1)}
	go func() {
		loc, err := who.Put(testContext(c.t), r, client.PutOptions{})
		if err == nil {
			err = errors.New("acknowledged as " + loc.String())
		}
		p.err <- err
		r.CloseWithError(err)
	}()
	if _, err := w.Write(pattern(3, 2<<20)); err != nil {
		c.t.Fatal(err)
	}
	c.untilTrue("a node takes the put of "+name, func() bool { return len(c.connsOf(name)) > 0 })
	return p
}

// cutOff waits until a node has ended the connection, gives the rest of the bytes, and says what became of the put.
func (p halfPut) cutOff(c *cell, why transport.RejectedCert) error {
	c.t.Helper()
	c.untilTrue("a node ends the connection: "+string(why.Why), func() bool { return c.unfitSum(why) > 0 })
	p.rest.Close()
	return <-p.err
}

// connsOf are the connections that the nodes have with somebody, and calls in flight on.
func (c *cell) connsOf(name string) (found []transport.Connection) {
	for _, n := range c.nodes {
		for _, conn := range n.transport.Table().Scan() {
			if conn.Peer == name && conn.Stats.InFlight.Calls > 0 {
				found = append(found, conn)
			}
		}
	}
	return found
}

// unfitSum is how many connections the nodes have refused or ended for it.
func (c *cell) unfitSum(u transport.RejectedCert) (sum uint64) {
	for _, n := range c.nodes {
		sum += n.transport.RejectedCerts()[u]
	}
	return sum
}

// A client whose certificate is revoked in the middle of a put is cut off there: the put is not acknowledged, the
// client gets the reason, and it does not get in again. Everybody else goes on.
func TestRevokedInTheMiddleOfAPut(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	deny := o.denyList()
	c := newSecureCell(t, o, 3, 0, func(cfg *Config) { cfg.TLS.Deny = deny.file })
	files := o.Files(pki.RoleClient, "bob")
	bob := c.as(openSource(t, files))
	defer bob.Close()
	put := c.putHalf(bob, "bob")

	deny.withdraw(files.Cert)
	err := put.cutOff(c, transport.RejectedCert{Why: pki.Revoked, Where: transport.OnOpen})
	if got := (*wire.Error)(nil); !errors.As(err, &got) || got.Code != wire.CodeDenied || got.Outcome != wire.Unknown {
		t.Errorf("the put ended with %v, want it denied", err)
	}
	again := c.as(openSource(t, files))
	defer again.Close()
	if _, err := again.Nodes(testContext(t)); err == nil {
		t.Error("it got in again")
	}
	if c.unfitSum(transport.RejectedCert{Why: pki.Revoked, Where: transport.AtHandshake}) == 0 {
		t.Error("no node has counted that it came again")
	}
	alice := c.as(o.Source(pki.RoleClient, "alice"))
	defer alice.Close()
	big := pattern(9, 1<<20)
	if _, err := alice.Put(testContext(t), bytes.NewReader(big), client.PutOptions{Length: int64(len(big))}); err != nil {
		t.Errorf("another client: %v", err)
	}
}

// A connection ends when the certificate does that it began with.
func TestExpiredOnAnOpenConnection(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	c := newSecureCell(t, o, 1, 0, func(*Config) {})
	files := o.Files(pki.RoleClient, "bob")
	o.Write(files, o.Pair(pki.RoleClient, "bob", time.Now().Add(12*time.Second))) // to begin a put, also slowly
	bob := c.as(openSource(t, files))
	defer bob.Close()
	put := c.putHalf(bob, "bob")
	err := put.cutOff(c, transport.RejectedCert{Why: pki.Expired, Where: transport.OnOpen})
	if wire.CodeOf(err) != wire.CodeDenied {
		t.Errorf("the put ended with %v, want it denied", err)
	}
}

// A node whose certificate is revoked loses its raft streams, in both directions, and the cell goes on without it.
func TestRevokedRaftPeer(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	deny := o.denyList()
	c := newSecureCell(t, o, 3, 0, func(cfg *Config) { cfg.TLS.Deny = deny.file })
	with := func(node string) (protocols []string) {
		for id, n := range c.nodes {
			if id == node {
				continue
			}
			for _, conn := range n.transport.Table().Scan() {
				if conn.Peer == node {
					protocols = append(protocols, string(conn.Protocol))
				}
			}
		}
		return protocols
	}
	c.untilTrue("n3 has raft streams and connections", func() bool {
		all := with("n3")
		return slices.Contains(all, string(transport.ProtocolRaft)) && slices.Contains(all, string(transport.ProtocolFrames))
	})
	deny.withdraw(c.configs["n3"].TLS.Cert)
	c.untilTrue("the others have none with it", func() bool { return len(with("n3")) == 0 })
	rest := client.New(client.Options{
		Addrs: []string{c.nodes["n1"].Addr(), c.nodes["n2"].Addr()},
		TLS:   o.Source(pki.RoleAdmin, "operator"),
	})
	defer rest.Close()
	if err := rest.SetSetting(testContext(t), "repair-delay", "7s"); err != nil {
		t.Errorf("without it: %v", err)
	}
	// It goes on dialing, from an address that is here everybody's: nobody has to wait for that.
	c.untilTrue("it has dialed again and again", func() bool {
		return c.unfitSum(transport.RejectedCert{Why: pki.Revoked, Where: transport.AtHandshake}) > 2*connlimit.FreeOffences
	})
	for id, n := range c.nodes {
		if counts := n.transport.Limits().Penalties(); counts.Waiting > 0 || counts.TurnedAway > 0 {
			t.Errorf("%s lets %d addresses wait, and has turned %d connections away", id, counts.Waiting, counts.TurnedAway)
		}
	}
	// It has a new one: it is back.
	o.Write(c.configs["n3"].TLS, o.Pair(pki.RoleNode, "n3", time.Now().Add(time.Hour)))
	c.untilTrue("n3 is back, with another certificate", func() bool {
		return slices.Contains(with("n3"), string(transport.ProtocolRaft))
	})
}

// A deny list that cannot be used changes nothing: not a damaged one, not another authority's, not an older one, and
// not one that is gone. The log and a check say so.
func TestBadDenyList(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	deny := o.denyList()
	empty, err := os.ReadFile(deny.file)
	if err != nil {
		t.Fatal(err)
	}
	said := &diary{}
	c := newSecureCell(t, o, 1, 0, func(cfg *Config) {
		cfg.TLS.Deny, cfg.Logger = deny.file, slog.New(slog.NewTextHandler(said, nil))
	})
	files := o.Files(pki.RoleClient, "bob")
	deny.withdraw(files.Cert)
	good, err := os.ReadFile(deny.file)
	if err != nil {
		t.Fatal(err)
	}
	check := func() (found health.Check) {
		for _, got := range c.nodes["n1"].checks(testContext(t)) {
			if got.Name == "DENY_LIST" {
				found = got
			}
		}
		return found
	}
	if got := check(); !got.OK || got.Level != health.OK {
		t.Errorf("with a good list: %+v", got)
	}
	other, _, err := newOffice(t, "cell").Authority.Withdraw(nil, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]struct {
		text []byte
		says string
	}{
		"damaged":              {good[:len(good)/2], "X509 CRL"},
		"of another authority": {other, "not signed"},
		"older":                {empty, "older"},
		"gone":                 {nil, "no such file"},
	} {
		if bad.text == nil {
			if err := os.Remove(deny.file); err != nil {
				t.Fatal(err)
			}
		} else {
			deny.write(bad.text)
		}
		c.untilTrue(name+": the log says so", func() bool { return said.says("deny list", "stays in force", bad.says) })
		if got := check(); got.OK || got.Level != health.Error || !got.Advisory {
			t.Errorf("%s: %+v", name, got)
		}
		bob := c.as(openSource(t, files))
		if _, err := bob.Nodes(testContext(t)); err == nil {
			t.Errorf("%s: who is revoked got in", name)
		}
		bob.Close()
		deny.write(good)
		c.untilTrue("the good list is used again", func() bool { return check().OK })
	}
}

// A node that is given a deny list does not start without, nor with a certificate that is on it.
func TestStartWithBadDenyList(t *testing.T) {
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
	deny := o.denyList()
	oneLine(t, start(func(cfg *Config) { cfg.TLS.Deny = filepath.Join(t.TempDir(), "missing.pem") }),
		"missing.pem", "deny list")
	oneLine(t, start(func(cfg *Config) { cfg.TLS.Deny = cfg.TLS.CA }), "X509 CRL")
	oneLine(t, start(func(cfg *Config) {
		cfg.TLS.Deny = deny.file
		deny.withdraw(cfg.TLS.Cert)
	}), "node n1", "revoked")
	oneLine(t, start(func(cfg *Config) {
		if err := os.Chmod(cfg.TLS.Key, 0o640); err != nil {
			t.Fatal(err)
		}
	}), "key", "chmod 600")
}
