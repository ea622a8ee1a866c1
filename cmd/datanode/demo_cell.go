package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"time"

	"github.com/datanode/datanode/node"
	"github.com/datanode/datanode/node/modules"
	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// demoRepairDelay is short, so that the lost node's extents are repaired while it is away.
const demoRepairDelay = "1s"

// demoCell is a cell in this process, of which nodes can be lost and come back. Its methods are called
// by one goroutine, all but client.
type demoCell struct {
	cfgs    []node.Config
	nodes   map[string]*node.Node // those that run
	clients map[string]*client.Client
	wrong   uint64 // wrong replies that nodes counted which run no more
}

// configs gives each node's configuration.
func (d *demonstration) configs(logger *slog.Logger, host modules.Host) ([]node.Config, error) {
	listeners, err := listenFrom("127.0.0.1:0", d.nodes)
	if err != nil {
		return nil, err
	}
	var voters []node.Peer
	for i := range demoVoters {
		voters = append(voters, node.Peer{ID: devID(i), Addr: listeners[i].Addr().String()})
	}
	cfgs := make([]node.Config, d.nodes)
	for i, l := range listeners {
		cfgs[i] = node.Config{
			ID: devID(i), Dir: filepath.Join(d.dir, devID(i)), Listener: l, Listen: l.Addr().String(),
			Policies: host, DefaultModule: plugins.Default(), Logger: logger, Version: buildInfo().Version, Fast: true,
			Settings: map[string]string{"repair-delay": demoRepairDelay, "replicas": strconv.Itoa(d.copies())},
		}
		if i < demoVoters {
			cfgs[i].Bootstrap = voters
		} else {
			cfgs[i].Join = []string{voters[0].Addr}
		}
	}
	return cfgs, nil
}

func newDemoCell(cfgs []node.Config) *demoCell {
	c := &demoCell{cfgs: cfgs, nodes: map[string]*node.Node{}, clients: map[string]*client.Client{}}
	for i := range cfgs {
		// Each client asks its own node first, and the others when that is gone.
		var addrs []string
		for k := range cfgs {
			addrs = append(addrs, cfgs[(i+k)%len(cfgs)].Listen)
		}
		c.clients[cfgs[i].ID] = client.New(client.Options{Addrs: addrs, Name: "datanode demo " + cfgs[i].ID})
	}
	return c
}

// client is one that asks the named node first.
func (c *demoCell) client(id string) *client.Client { return c.clients[id] }

// start starts all nodes and waits until they are up.
func (c *demoCell) start(ctx context.Context) error {
	nodes, err := startAll(ctx, c.cfgs)
	for i, n := range nodes {
		c.nodes[n.ID()] = n
		c.cfgs[i].Listener = nil // the next start opens its own
	}
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if err := ready(ctx, n); err != nil {
			return err
		}
	}
	return c.awaitNodes(ctx, "all nodes up", func(n wire.Node) bool { return n.State == "up" })
}

func ready(ctx context.Context, n *node.Node) error {
	select {
	case <-n.Ready():
		return nil
	case <-n.Done():
		return fmt.Errorf("%s stopped: %w", n.ID(), orStopped(n.Err()))
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lose stops a node without a word.
func (c *demoCell) lose(id string) {
	n := c.nodes[id]
	delete(c.nodes, id)
	n.Kill()
	c.wrong += n.Mismatches()
}

// again starts a lost node from its folder and waits until it serves.
func (c *demoCell) again(ctx context.Context, id string) error {
	for _, cfg := range c.cfgs {
		if cfg.ID != id {
			continue
		}
		n, err := node.Start(ctx, cfg)
		if err != nil {
			return err
		}
		c.nodes[id] = n
		return ready(ctx, n)
	}
	return fmt.Errorf("there is no node %s", id)
}

// awaitNodes waits until the cell has all its nodes, and ok is true of each.
func (c *demoCell) awaitNodes(ctx context.Context, what string, ok func(wire.Node) bool) error {
	return await(ctx, what, func() (bool, string, error) {
		nodes, err := c.client(c.cfgs[0].ID).Nodes(ctx)
		for _, n := range nodes {
			if !ok(n) {
				return false, fmt.Sprintf("%s is %s, %s, with %d files to drop", n.ID, n.State, n.Mode, n.Dropping), err
			}
		}
		return len(nodes) == len(c.cfgs), fmt.Sprintf("%d of %d nodes are known", len(nodes), len(c.cfgs)), err
	})
}

// wrongReplies is how many frames matched no call, at all nodes.
func (c *demoCell) wrongReplies() uint64 {
	sum := c.wrong
	for _, n := range c.nodes {
		sum += n.Mismatches()
	}
	return sum
}

func (c *demoCell) close() {
	for _, cl := range c.clients {
		cl.Close()
	}
	var nodes []*node.Node
	for _, n := range c.nodes {
		nodes = append(nodes, n)
	}
	stopAll(nodes)
}

const (
	demoLook = 200 * time.Millisecond
	// demoPatience bounds each wait for the cell. It is far above what is needed.
	demoPatience = 3 * time.Minute
)

// await looks again and again until look says that it is so. The error tells what it said last.
func await(ctx context.Context, what string, look func() (ok bool, state string, err error)) error {
	limit := time.NewTimer(demoPatience)
	defer limit.Stop()
	pause := time.NewTicker(demoLook)
	defer pause.Stop()
	for {
		ok, state, err := look()
		if ok || err != nil {
			return err
		}
		select {
		case <-pause.C:
		case <-limit.C:
			return fmt.Errorf("waited %s for %s: %s", demoPatience, what, state)
		case <-ctx.Done():
			return fmt.Errorf("waited for %s: %s: %w", what, state, ctx.Err())
		}
	}
}
