package pki

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func authority(t *testing.T, cluster string) (*Authority, Pair) {
	t.Helper()
	a, pair, err := NewAuthority(cluster, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a, pair
}

// issue makes a certificate that is valid for an hour around now.
func issue(t *testing.T, a *Authority, role Role, name string) Pair {
	t.Helper()
	r := Request{Role: role, Name: name, From: time.Now(), Expiry: time.Now().Add(time.Hour)}
	if role == RoleNode {
		r.Hosts = []string{"127.0.0.1"}
	}
	return issueAs(t, a, r)
}

func issueAs(t *testing.T, a *Authority, r Request) Pair {
	t.Helper()
	pair, err := a.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// store writes what a Source reads.
func store(t *testing.T, own Pair, ca []byte) Files {
	t.Helper()
	dir := t.TempDir()
	f := Files{Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key"), CA: filepath.Join(dir, "ca")}
	replace(t, f.Cert, own.Cert)
	replace(t, f.Key, own.Key)
	replace(t, f.CA, ca)
	return f
}

// replace gives a file another content as another file, so that no clock is needed to see it.
func replace(t *testing.T, name string, text []byte) {
	t.Helper()
	tmp := name + ".new"
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, name); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, f Files) *Source {
	t.Helper()
	s, err := Open(f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// refusedWith fails unless err says all of the words.
func refusedWith(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted, want a refusal about %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

func TestParseIdentity(t *testing.T) {
	good := Identity{Cluster: "cell", Role: RoleNode, Name: "n1"}
	if got, err := ParseIdentity(good.URI().String()); err != nil || got != good {
		t.Errorf("got %+v, %v, want %+v", got, err, good)
	}
	for _, bad := range []string{
		"", "datanode://cell/node", "datanode://cell/node/", "datanode:///node/n1", "datanode://cell/node/n1/",
		"datanode://cell/root/n1",
		"https://cell/node/n1", "datanode://cell/node/n1?x", "datanode://cell/node/..", "datanode://u@cell/node/n1",
		"datanode://cell/Node/n1",
		"datanode://cell/node/" + strings.Repeat("n", maxNameBytes+1),
	} {
		if got, err := ParseIdentity(bad); err == nil {
			t.Errorf("%q is taken for %+v", bad, got)
		}
	}
}

func FuzzParseIdentity(f *testing.F) {
	f.Add("datanode://cell/node/n1")
	f.Add("datanode://c.x/admin/a_b-c")
	f.Fuzz(func(t *testing.T, text string) {
		if id, err := ParseIdentity(text); err == nil && id.URI().String() != text {
			t.Errorf("%q is read as %+v and written as %q", text, id, id.URI())
		}
	})
}

// Both sides must be of one authority and one cluster; only nodes are dialed, at hosts that they are for.
func TestHandshake(t *testing.T) {
	a, pair := authority(t, "cell")
	other, otherPair := authority(t, "cell")
	// The same authority under another name: nothing but the cluster in the URI differs.
	foreign := &Authority{Cluster: "cellar", cert: a.cert, key: a.key}
	both := append(bytes.Clone(pair.Cert), otherPair.Cert...)
	node := open(t, store(t, issue(t, a, RoleNode, "n1"), pair.Cert))
	client := open(t, store(t, issue(t, a, RoleClient, "bob"), pair.Cert))
	for _, c := range []struct {
		name           string
		server, client *Source
		addr           string
		serverSays     string
		clientSays     string // empty: no word of it; in TLS 1.3 the client is done first
	}{
		{name: "client to node", server: node, client: client, addr: "127.0.0.1:1"},
		{name: "node to node", server: node, client: open(t, store(t, issue(t, a, RoleNode, "n2"), pair.Cert)),
			addr: "127.0.0.1:1"},
		{name: "server's authority not known", server: node,
			client: open(t, store(t, issue(t, other, RoleClient, "bob"), otherPair.Cert)),
			addr:   "127.0.0.1:1", serverSays: "bad certificate", clientSays: "unknown authority"},
		{name: "client's authority not known", server: node,
			client: open(t, store(t, issue(t, other, RoleClient, "bob"), both)),
			addr:   "127.0.0.1:1", serverSays: "unknown authority"},
		{name: "client of another cluster", server: node,
			client: open(t, store(t, issue(t, foreign, RoleClient, "bob"), pair.Cert)),
			addr:   "127.0.0.1:1", serverSays: "bad certificate", clientSays: `of cluster "cell", want "cellar"`},
		{name: "wrong host", server: node, client: client, addr: "127.0.0.2:1", serverSays: "bad certificate",
			clientSays: "127.0.0.2"},
		{name: "client as server", server: client, client: client, addr: "127.0.0.1:1", serverSays: "bad certificate",
			clientSays: "127.0.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			serverErr, clientErr := shakeHands(t, c.server, c.client, c.addr)
			if c.serverSays == "" && c.clientSays == "" {
				if serverErr != nil || clientErr != nil {
					t.Fatalf("server %v, client %v", serverErr, clientErr)
				}
				return
			}
			refusedWith(t, serverErr, c.serverSays)
			if c.clientSays != "" {
				refusedWith(t, clientErr, c.clientSays)
			}
		})
	}
}

// What the chain does not say is checked by itself: an authority could sign anything.
func TestCheckPeer(t *testing.T) {
	a, pair := authority(t, "cell")
	foreign := &Authority{Cluster: "cellar", cert: a.cert, key: a.key}
	m := open(t, store(t, issue(t, a, RoleNode, "n1"), pair.Cert)).current()
	check := func(a *Authority, role Role, protocol string) error {
		peer := open(t, store(t, issue(t, a, role, "eve"), pair.Cert)).current()
		state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{peer.leaf}, NegotiatedProtocol: protocol}
		return m.checkPeer([]string{ProtocolFrames}, RoleNode)(state)
	}
	if err := check(a, RoleNode, ProtocolFrames); err != nil {
		t.Error(err)
	}
	refusedWith(t, check(a, RoleAdmin, ProtocolFrames), "admin eve", "want a node's")
	refusedWith(t, check(foreign, RoleNode, ProtocolFrames), `of cluster "cellar"`)
	refusedWith(t, check(a, RoleNode, ""), `protocol ""`)
	refusedWith(t, check(a, RoleNode, ProtocolRaft), ProtocolRaft)
	refusedWith(t, m.checkPeer(nil)(tls.ConnectionState{}), "no certificate")
}

func shakeHands(t *testing.T, server, client *Source, addr string) (serverErr, clientErr error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	cnc, snc := net.Pipe()
	defer cnc.Close()
	defer snc.Close()
	done := make(chan error, 1)
	go func() {
		tc, id, err := server.Server(ctx, snc, ProtocolFrames, ProtocolRaft)
		if err == nil {
			if id != client.Identity() || tc.ConnectionState().NegotiatedProtocol != ProtocolFrames {
				t.Errorf("the server saw %s, %q", id, tc.ConnectionState().NegotiatedProtocol)
			}
			_, err = tc.Write([]byte{1})
		}
		done <- err
	}()
	tc, id, clientErr := client.Client(ctx, cnc, addr, ProtocolFrames)
	if clientErr == nil {
		if id != server.Identity() {
			t.Errorf("the client saw %s", id)
		}
		_, clientErr = tc.Read(make([]byte, 1)) // the server's judgement comes only now
	}
	return <-done, clientErr
}

// New files are used from the next handshake on, and what cannot be used changes nothing.
func TestReload(t *testing.T) {
	a, pair := authority(t, "cell")
	first, second := issue(t, a, RoleNode, "n1"), issue(t, a, RoleNode, "n1")
	f := store(t, first, pair.Cert)
	s := open(t, f)
	serial := s.current().leaf.SerialNumber

	replace(t, f.Cert, second.Cert) // without its key
	if got := s.current().leaf.SerialNumber; got.Cmp(serial) != 0 {
		t.Error("a certificate without its key is used")
	}
	refusedWith(t, s.Stale(), "key")
	replace(t, f.Key, second.Key)
	if got := s.current().leaf.SerialNumber; got.Cmp(serial) == 0 {
		t.Error("the new certificate is not used")
	}
	if err := s.Stale(); err != nil {
		t.Errorf("stale after both are replaced: %v", err)
	}

	serial = s.current().leaf.SerialNumber
	stranger := issue(t, a, RoleNode, "n2")
	replace(t, f.Cert, stranger.Cert)
	replace(t, f.Key, stranger.Key)
	if got := s.current().leaf.SerialNumber; got.Cmp(serial) != 0 || s.Identity().Name != "n1" {
		t.Error("another node's certificate is used")
	}
	refusedWith(t, s.Stale(), "node n2", "node n1")
	if err := os.Remove(f.CA); err != nil {
		t.Fatal(err)
	}
	if got := s.current().leaf.SerialNumber; got.Cmp(serial) != 0 {
		t.Error("the certificate changed with no authority there")
	}
}

// What no peer would accept is said when the program starts.
func TestOpenRefuses(t *testing.T) {
	a, pair := authority(t, "cell")
	_, otherPair := authority(t, "cell")
	good := issue(t, a, RoleClient, "bob")
	old := time.Now().Add(-48 * time.Hour)
	expired := issueAs(t, a, Request{Role: RoleClient, Name: "bob", From: old, Expiry: old.Add(time.Hour)})
	for name, c := range map[string]struct {
		files Files
		words []string
	}{
		"incomplete":      {Files{Cert: "x"}, []string{"needs"}},
		"missing":         {Files{Cert: "/nowhere/c", Key: "/nowhere/k", CA: "/nowhere/a"}, []string{"/nowhere/c"}},
		"expired":         {store(t, expired, pair.Cert), []string{"valid from", "cert client bob --renew"}},
		"other authority": {store(t, good, otherPair.Cert), []string{"not from the authority"}},
		"other key":       {store(t, Pair{good.Cert, expired.Key}, pair.Cert), []string{"key"}},
		"no identity":     {store(t, pair, pair.Cert), []string{"has 0 URIs"}},
		"no authority":    {store(t, good, good.Key), []string{"holds no certificate"}},
		"too large":       {store(t, good, make([]byte, maxFileBytes+1)), []string{"larger"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(c.files)
			refusedWith(t, err, c.words...)
		})
	}
}

func TestIssueRefuses(t *testing.T) {
	a, _ := authority(t, "cell")
	soon := time.Now().Add(time.Hour)
	for name, r := range map[string]Request{
		"no host":     {Role: RoleNode, Name: "n1", Expiry: soon},
		"port":        {Role: RoleNode, Name: "n1", Hosts: []string{"a:1"}, Expiry: soon},
		"many hosts":  {Role: RoleNode, Name: "n1", Hosts: make([]string, maxHosts+1), Expiry: soon},
		"host of bob": {Role: RoleClient, Name: "bob", Hosts: []string{"a"}, Expiry: soon},
		"role":        {Role: "root", Name: "bob", Expiry: soon},
		"name":        {Role: RoleClient, Name: "../bob", Expiry: soon},
		"too long":    {Role: RoleClient, Name: "bob", Expiry: time.Now().AddDate(authorityYears+1, 0, 0)},
	} {
		if _, err := a.Issue(r); err == nil {
			t.Errorf("%s: issued", name)
		}
	}
	if _, _, err := NewAuthority("a/b", time.Now()); err == nil {
		t.Error("an authority of cluster a/b is made")
	}
}
