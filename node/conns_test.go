package node

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// heldReader gives its bytes and then nothing, until it is let go.
type heldReader struct {
	first   io.Reader
	reached chan struct{} // closed once the bytes have been read
	letGo   chan struct{}
	rest    bool
}

func (r *heldReader) Read(p []byte) (int, error) {
	if n, err := r.first.Read(p); err == nil {
		return n, nil
	}
	if !r.rest {
		close(r.reached)
		r.rest = true
	}
	<-r.letGo
	return 0, io.EOF
}

// Conns shows who is connected, by the certificate, and what they are doing just now; so do the metrics, with
// labels that no stranger can choose.
func TestConns(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "cell")
	c := newSecureCell(t, o, 3, 0, func(cfg *Config) { cfg.HTTP = "127.0.0.1:0" })
	bob := client.New(client.Options{Addrs: []string{c.nodes["n1"].Addr()}, Name: t.Name(), TLS: o.source(pki.RoleClient, "bob")})
	defer bob.Close()
	r := &heldReader{first: bytes.NewReader(pattern(1, 3<<20)), reached: make(chan struct{}), letGo: make(chan struct{})}
	done := make(chan error, 1)
	go func() {
		_, err := bob.Put(testContext(t), r, client.PutOptions{Length: -1})
		done <- err
	}()
	<-r.reached

	admin := c.as(o.source(pki.RoleAdmin, "root"))
	defer admin.Close()
	reply, err := admin.Conns(testContext(t), c.nodes["n1"].Addr())
	if err != nil {
		t.Fatal(err)
	}
	if reply.Node != "n1" {
		t.Errorf("asked n1, got %q", reply.Node)
	}
	seen := map[string]wire.Connection{}
	for _, conn := range reply.Conns {
		seen[strings.Join([]string{conn.Peer, conn.Role, conn.Direction}, "/")] = conn
	}
	put := seen["bob/client/in"]
	if text := fmt.Sprint(put.InFlight); !strings.Contains(text, "put client 1") || put.Oldest != "put" || put.OldestCall <= 0 {
		t.Errorf("the connection with a put under way: %+v", put)
	}
	if len(put.Sessions) != 1 || put.Sessions[0].Session != "client" || put.Sessions[0].Calls != 1 || put.Sessions[0].Credit <= 0 {
		t.Errorf("its sessions: %+v", put.Sessions)
	}
	asking := seen["root/admin/in"]
	if text := fmt.Sprint(asking.InFlight); !strings.Contains(text, "conns") {
		t.Errorf("the connection that asks: %+v", asking)
	}
	for _, peer := range []string{"n2", "n3"} {
		if _, ok := seen[peer+"/node/out"]; !ok && peer != c.leader() && c.leader() == "n1" {
			t.Errorf("no connection to %s among %v", peer, seen)
		}
	}
	_, metrics := httpGet(t, c.nodes["n1"], "/metrics")
	for _, want := range []string{
		`datanode_wire_calls_in_flight{direction="in",op="put",peer="client",role="client"} 1`,
		`datanode_connections{direction="in",peer="client",role="admin"} 1`,
		`datanode_wire_oldest_call_seconds{direction="in",peer="client",role="client"} `,
	} {
		if !strings.Contains(metrics, "\n"+want) {
			t.Errorf("metrics lack %q", want)
		}
	}
	if strings.Contains(metrics, "bob") {
		t.Error("a name that a client brings is a label")
	}
	close(r.letGo)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
