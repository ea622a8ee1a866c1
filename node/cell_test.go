package node

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/datanode/datanode/node/datapath"
	"github.com/datanode/datanode/node/describe"
	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// cell is a real cell in this process: real sockets, real files.
type cell struct {
	t       *testing.T
	nodes   map[string]*Node
	configs map[string]Config
	client  *client.Client

	clientTLS *pki.Source // of the client; nil: plaintext
}

// appendPiece is what one append takes: a put of more has an extent of its own.
const appendPiece = datapath.AppendBytes

// patience bounds every wait of these tests. It is long because the machine may be busy; nothing
// waits for it to pass.
const patience = 90 * time.Second

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// newCell starts voters nodes that make a cell, and further ones that join it.
func newCell(t *testing.T, voters, further int) *cell {
	return newCellWith(t, voters, further, func(*Config) {})
}

// newCellWith is newCell with configurations that are changed before the nodes start.
func newCellWith(t *testing.T, voters, further int, change func(*Config)) *cell {
	c := &cell{t: t, nodes: map[string]*Node{}, configs: map[string]Config{}}
	var peers []Peer
	listeners := map[string]net.Listener{}
	for i := 1; i <= voters+further; i++ {
		l := lasting(t)
		id := fmt.Sprintf("n%d", i)
		listeners[id] = l
		if i <= voters {
			peers = append(peers, Peer{ID: id, Addr: l.Addr().String()})
		}
	}
	var addrs []string
	for i := 1; i <= voters+further; i++ {
		id := fmt.Sprintf("n%d", i)
		cfg := Config{
			ID: id, Dir: t.TempDir(), Listener: listeners[id], Fast: true, Version: "test",
			Settings: map[string]string{"repair-delay": "1s", "lease": "10s", "disk-reserve": "4Mi"},
			Logger:   slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
		}
		if i <= voters {
			cfg.Bootstrap = peers
		} else {
			cfg.Join = []string{peers[0].Addr}
		}
		cfg.Listen = listeners[id].Addr().String()
		if voters+further == 1 {
			cfg.Settings["replicas"] = "1"
		}
		change(&cfg)
		c.configs[id] = cfg
		addrs = append(addrs, cfg.Listen)
		c.start(id)
	}
	c.client = client.New(client.Options{Addrs: addrs, Name: t.Name()})
	t.Cleanup(func() {
		c.client.Close()
		for _, n := range c.nodes {
			n.Close()
		}
	})
	for id := range c.nodes {
		c.ready(id)
	}
	c.up(len(c.nodes))
	return c
}

// lasting listens on a port that stays a node's own while it is stopped: the system gives none of these to others.
func lasting(t *testing.T) net.Listener {
	t.Helper()
	for range 1000 {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(10_000))); err == nil {
			return l
		}
	}
	t.Fatal("no port from 10000 to 19999 is free")
	return nil
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(string(bytes.TrimRight(p, "\n")))
	return len(p), nil
}

// start starts a node, again if it ran before.
func (c *cell) start(id string) {
	c.t.Helper()
	n, err := Start(c.t.Context(), c.configs[id])
	if err != nil {
		c.t.Fatal(err)
	}
	c.nodes[id] = n
	cfg := c.configs[id]
	cfg.Listener = nil // the next start opens its own
	c.configs[id] = cfg
}

func (c *cell) ready(id string) {
	c.t.Helper()
	select {
	case <-c.nodes[id].Ready():
	case <-time.After(patience):
		c.t.Fatalf("%s is not ready", id)
	}
}

// up waits until a node knows that so many nodes are up.
func (c *cell) up(want int) {
	c.t.Helper()
	c.until(fmt.Sprintf("%d nodes up", want), func(n *Node) bool {
		up := 0
		for _, d := range c.describeNodes(n) {
			if d.State == "up" {
				up++
			}
		}
		return up == want
	})
}

func (c *cell) describeNodes(n *Node) []wire.Node {
	var reply []wire.Node
	view := n.log.View()
	view.Nodes(func(node *stateNode) bool {
		reply = append(reply, describe.Node(view, n.lead.LookAt(view), node, ""))
		return true
	})
	return reply
}

// until waits until every running node's state satisfies ok, looking again at each change.
func (c *cell) until(what string, ok func(*Node) bool) {
	c.t.Helper()
	ctx := testContext(c.t)
	for id, n := range c.nodes {
		for {
			changed := n.log.Changed()
			if ok(n) {
				break
			}
			select {
			case <-changed:
			case <-ctx.Done():
				c.t.Fatalf("%s: not true on %s in time", what, id)
			}
		}
	}
}

// kill stops a node without a word, and forgets it.
func (c *cell) kill(id string) {
	c.nodes[id].Kill()
	delete(c.nodes, id)
}

func (c *cell) put(p []byte) wire.Locator {
	c.t.Helper()
	loc, err := c.client.Put(testContext(c.t), bytes.NewReader(p), client.PutOptions{Length: int64(len(p))})
	if err != nil {
		c.t.Fatalf("put of %d bytes: %v", len(p), err)
	}
	return loc
}

// get reads a locator, from one node's replica if it is named.
func (c *cell) get(loc wire.Locator, node string) ([]byte, error) {
	var buf bytes.Buffer
	_, err := c.client.Read(testContext(c.t), wire.ReadRequest{Locator: loc, Node: node}, &buf)
	return buf.Bytes(), err
}

// describe is what a failed test wants to know: extents, nodes and operations, as the leader sees them.
func (c *cell) describe() string {
	var out bytes.Buffer
	for id, n := range c.nodes {
		if !n.log.IsLeader() {
			continue
		}
		view := n.log.View()
		leader, _ := n.log.Leader()
		view.Extents(0, func(e *state.Extent) bool { fmt.Fprintf(&out, "  %+v\n", *e); return true })
		fmt.Fprintf(&out, "%s: leader %s, applied %d\n", id, leader, view.Applied)
		view.Nodes(func(node *stateNode) bool {
			fmt.Fprintf(&out, "  %+v\n", describe.Node(view, n.lead.LookAt(view), node, leader))
			return true
		})
		view.Ops(0, func(o *state.Op) bool {
			fmt.Fprintf(&out, "  %s %s %s extent %d: %s %+v\n", o.ID, o.Kind, o.State, o.Extent, o.Detail, o.Steps)
			return true
		})
	}
	return out.String()
}

// run submits operations and waits for their end.
func (c *cell) run(subs ...wire.Submission) []wire.Op {
	c.t.Helper()
	res, err := c.client.Submit(testContext(c.t), subs, client.SubmitOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	var ids []string
	for i, r := range res {
		if r.Code != 0 {
			c.t.Fatalf("%s of extent %d: %s", subs[i].Kind, subs[i].Extent, r.Detail)
		}
		ids = append(ids, r.Op)
	}
	ops, err := c.client.Wait(testContext(c.t), ids, nil)
	if err != nil {
		c.t.Fatalf("%v\n%s", err, c.describe())
	}
	return ops
}

// readVia reads a locator by way of one node, from whichever replica that node chooses.
func (c *cell) readVia(node string, loc wire.Locator, to *bytes.Buffer) error {
	one := client.New(client.Options{Addrs: []string{c.nodes[node].Addr()}, Name: c.t.Name()})
	defer one.Close()
	_, err := one.Read(testContext(c.t), wire.ReadRequest{Locator: loc}, to)
	return err
}

// untilTrue waits for what no entry of the log announces.
func (c *cell) untilTrue(what string, ok func() bool) {
	c.t.Helper()
	ctx := testContext(c.t)
	for !ok() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			c.t.Fatalf("%s: not true in time", what)
		}
	}
}
