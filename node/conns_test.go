package node

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
	"github.com/datanode/datanode/wire/mux"
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
		if conn.Protocol != "raft" {
			seen[strings.Join([]string{conn.Peer, conn.Role, conn.Direction}, "/")] = conn
		}
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
		`datanode_connections{direction="in",peer="client",protocol="frames",role="admin"} 1`,
		`datanode_wire_oldest_call_seconds{direction="in",peer="client",role="client"} `,
	} {
		if !strings.Contains(metrics, "\n"+want) {
			t.Errorf("metrics lack %q", want)
		}
	}
	for _, of := range []string{"all", "half-open", "nodes", "one-address", "half-open-one-address"} {
		now, most := sample(t, metrics, `datanode_accepted_connections{of="`+of+`"}`), sample(t, metrics, `datanode_accepted_connections_limit{of="`+of+`"}`)
		if least := map[string]float64{"all": 2, "one-address": 2, "nodes": 1}[of]; now >= most || now < least { // bob, root; a node
			t.Errorf("%v connections of %v: %s", now, most, of)
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

// What has gone over connections is counted for good: also of those that have ended, and whoever a peer turns out to be.
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

// fakeCounted has done what the test says.
type fakeCounted struct{ stats mux.Stats }

func (f *fakeCounted) Stats() mux.Stats { return f.stats }

// Each byte is counted once, by whoever takes stock, in the order in which they come; what a connection does once its
// peer is a node of the cell, or no longer is, goes to another group, and no total falls.
func TestStock(t *testing.T) {
	s := newStock()
	node := false
	s.isNode = func(id string) bool { return node && id == "n4" }
	totals := func(peer string, want traffic) {
		t.Helper()
		if got := s.sums()[wireGroup{peer, "", directionIn, protocolFrames}]; got != want {
			t.Errorf("%s: %+v, want %+v", peer, got, want)
		}
	}
	moved := func(f *fakeCounted, in, out, stalls uint64) {
		f.stats.BytesIn, f.stats.BytesOut, f.stats.CreditStalls = in, out, stalls
	}
	a, b := &fakeCounted{}, &fakeCounted{}
	endA := s.add(a, connection{peer: "n4", direction: directionIn, protocol: protocolFrames})
	endB := s.add(b, connection{peer: "bob", direction: directionIn, protocol: protocolFrames})
	moved(a, 10, 20, 1)
	moved(b, 1, 2, 0)
	s.take()
	s.take()
	totals("client", traffic{11, 22, 1})
	totals("n4", traffic{})
	node = true
	moved(a, 15, 20, 3)
	s.take()
	totals("client", traffic{11, 22, 1})
	totals("n4", traffic{5, 0, 2})
	moved(a, 10, 20, 1) // looked at before, counted after
	s.take()
	totals("n4", traffic{5, 0, 2})
	moved(a, 16, 21, 3)
	endA()
	endA()
	node = false
	moved(b, 2, 2, 0)
	endB()
	totals("client", traffic{12, 22, 1})
	totals("n4", traffic{6, 1, 2})
	if left := s.take(); len(left) != 0 {
		t.Errorf("%+v is left", left)
	}
	if g := s.group(&connection{peer: "n9", protocol: protocolRaft}); g.peer != "unknown" {
		t.Errorf("a raft stream of no node of the cell is counted under %q", g.peer)
	}
}

// The bytes of a raft stream are counted on either side.
func TestCountedStream(t *testing.T) {
	near, far := net.Pipe()
	s := newStock()
	one := s.stream(near, "n2", pki.RoleNode, directionOut)
	other := s.stream(far, "", "", directionIn)
	go func() {
		_, _ = one.Write(make([]byte, 7))
		one.Close()
	}()
	if got, err := io.ReadAll(other); err != nil || len(got) != 7 {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	other.Close()
	want := map[wireGroup]traffic{
		{"unknown", pki.RoleNode, directionOut, protocolRaft}: {sent: 7},
		{"unknown", "", directionIn, protocolRaft}:            {received: 7},
	}
	for g, sum := range want {
		if got := s.sums()[g]; got != sum {
			t.Errorf("%+v: %+v, want %+v", g, got, sum)
		}
	}
}

// In plaintext the name in a raft stream's hello is anybody's: it must be fit to be shown and kept.
func TestStreamNamesAreBounded(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newListener(inner, patience)
	l.logger, l.hello = slog.New(slog.DiscardHandler), func() streamHello { return streamHello{} }
	l.run()
	t.Cleanup(func() { l.Close(); l.wait() })
	for name, ok := range map[string]bool{"n2": true, "": true, "n2\x1b[31m": false, "n\n2": false, strings.Repeat("n", wire.MaxNameBytes+1): false} {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := writeStreamHello(nc, streamHello{node: name}); err != nil {
			t.Fatal(err)
		}
		refused, accepted := make(chan struct{}), make(chan bool, 1)
		go func() {
			select {
			case stream := <-l.raft:
				accepted <- true
				stream.Close()
			case <-refused:
				accepted <- false
			}
		}()
		_, _ = io.Copy(io.Discard, nc) // until one of them closes it
		close(refused)
		if got := <-accepted; got != ok {
			t.Errorf("a stream of node %q: accepted %t, want %t", name, got, ok)
		}
		nc.Close()
	}
}
