package node

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// sample is a value of the metrics.
func sample(t *testing.T, metrics, name string) float64 {
	t.Helper()
	m := regexp.MustCompile("(?m)^" + regexp.QuoteMeta(name) + " (.*)$").FindStringSubmatch(metrics)
	if m == nil {
		t.Fatalf("metrics lack %s", name)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

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
	c := newSecureCell(t, o, 3, 0, func(cfg *Config) { cfg.HTTP, cfg.HTTPPlain = "127.0.0.1:0", true })
	bob := client.New(client.Options{
		Addrs: []string{c.nodes["n1"].Addr()},
		Name:  t.Name(),
		TLS:   o.Source(pki.RoleClient, "bob"),
	})
	defer bob.Close()
	r := &heldReader{first: bytes.NewReader(pattern(1, 3<<20)), reached: make(chan struct{}), letGo: make(chan struct{})}
	done := make(chan error, 1)
	go func() {
		_, err := bob.Put(testContext(t), r, client.PutOptions{Length: -1})
		done <- err
	}()
	<-r.reached
	c.untilTrue("the node has the put in hand", func() bool { return len(c.connsOf("bob")) > 0 })

	admin := c.as(o.Source(pki.RoleAdmin, "root"))
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
		if conn.Protocol != "raft" {
			seen[strings.Join([]string{conn.Peer, conn.Role, conn.Direction}, "/")] = conn
		}
	}
	put := seen["bob/client/in"]
	if text := fmt.Sprint(put.InFlight); !strings.Contains(text, "put client 1") ||
		put.Oldest != "put" || put.OldestCall <= 0 {
		t.Errorf("the connection with a put under way: %+v", put)
	}
	if len(put.Sessions) != 1 || put.Sessions[0].Session != "client" ||
		put.Sessions[0].Calls != 1 || put.Sessions[0].Credit <= 0 {
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
		`datanode_connections{direction="in",peer="client",protocol="frames",role="admin"} 1`,
		`datanode_wire_oldest_call_seconds{direction="in",peer="client",role="client"} `,
	} {
		if !strings.Contains(metrics, "\n"+want) {
			t.Errorf("metrics lack %q", want)
		}
	}
	withinLimits(t, metrics)
	if strings.Contains(metrics, "bob") {
		t.Error("a name that a client brings is a label")
	}
	close(r.letGo)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func withinLimits(t *testing.T, metrics string) {
	t.Helper()
	for _, of := range []string{"all", "half-open", "nodes", "one-address", "half-open-one-address"} {
		now, most := sample(t, metrics, `datanode_accepted_connections{of="`+of+`"}`),
			sample(t, metrics, `datanode_accepted_connections_limit{of="`+of+`"}`)
		least := map[string]float64{"all": 2, "one-address": 2, "nodes": 1}[of] // bob, root; a node
		if now >= most || now < least {
			t.Errorf("%v connections of %v: %s", now, most, of)
		}
	}
}

// Raft's streams are shown as well, accepted and dialed ones, over TLS and in plaintext: they count against the caps.
func TestConnsShowRaft(t *testing.T) {
	t.Parallel()
	for name, role := range map[string]string{"TLS": "node", "plaintext": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			serve := func(cfg *Config) { cfg.HTTP, cfg.HTTPPlain = "127.0.0.1:0", true }
			var c *cell
			if role == "" {
				c = newCellWith(t, 3, 0, serve)
			} else {
				c = newSecureCell(t, newOffice(t, "cell"), 3, 0, serve)
			}
			leader := c.leader()
			follower := map[string]string{"n1": "n2", "n2": "n3", "n3": "n1"}[leader]
			for _, end := range []struct{ at, peer, direction string }{{leader, follower, "out"}, {follower, leader, "in"}} {
				c.untilTrue(fmt.Sprintf("%s shows a stream %s, with %s", end.at, end.direction, end.peer), func() bool {
					reply, err := c.client.Conns(testContext(t), c.nodes[end.at].Addr())
					if err != nil {
						t.Fatal(err)
					}
					for _, conn := range reply.Conns {
						if conn.Protocol == "raft" && conn.Direction == end.direction && conn.Peer == end.peer &&
							conn.Role == role && conn.Remote != "" && conn.Since > 0 && conn.BytesIn > 0 && conn.BytesOut > 0 {
							return true
						}
					}
					return false
				})
				_, metrics := httpGet(t, c.nodes[end.at], "/metrics")
				labels := fmt.Sprintf(`{direction="%s",peer="%s",protocol="raft",role="%s"}`, end.direction, end.peer, role)
				for _, name := range []string{"datanode_wire_received_bytes_total", "datanode_wire_sent_bytes_total"} {
					if sample(t, metrics, name+labels) <= 0 {
						t.Errorf("%s%s is 0", name, labels)
					}
				}
				sample(t, metrics, "datanode_connections"+labels)
			}
		})
	}
}

// What has gone over connections is counted for good: also of those that have ended, and whoever a peer turns out to
// be.
func TestTotalsNeverFall(t *testing.T) {
	t.Parallel()
	c := newCellWith(t, 1, 0, func(cfg *Config) { cfg.HTTP, cfg.HTTPPlain = "127.0.0.1:0", true })
	const clients = `{direction="in",peer="client",protocol="frames",role=""}`
	look := func(name string) float64 {
		_, metrics := httpGet(t, c.nodes["n1"], "/metrics")
		return sample(t, metrics, name+clients)
	}
	c.put(pattern(1, 10)) // by a connection that stays
	before := look("datanode_wire_received_bytes_total")
	for i := range 3 {
		one := client.New(client.Options{Addrs: []string{c.nodes["n1"].Addr()}})
		if _, err := one.Put(testContext(t), bytes.NewReader(pattern(uint64(i), 300_000)), client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		one.Close()
	}
	c.untilTrue("the connections have ended", func() bool { return look("datanode_connections") <= 1 })
	if got := look("datanode_wire_received_bytes_total") - before; got < 900_000 {
		t.Errorf("%v bytes received for 900000 that were put", got)
	}
	if look("datanode_wire_sent_bytes_total") <= 0 {
		t.Error("nothing sent")
	}
}
