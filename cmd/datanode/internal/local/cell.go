// Package local runs a whole cell in this process, for dev, the demo and tests. Nodes have their own goroutines, which
// end with Cell.Close or StopAll.
package local

import (
	"context"
	"fmt"
	"time"

	"github.com/datanode/datanode/node"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/client"
)

// Cell is a cell in this process, of which nodes can be lost and come back. Its methods are called
// by one goroutine, all but Client.
type Cell struct {
	Configs []node.Config             // one of each node, whether it runs or not
	nodes   map[string]*node.Node     // those that run
	Clients map[string]*client.Client // by node; closed with the cell
	wrong   uint64                    // wrong replies that nodes counted which run no more
}

// Start starts a cell and waits until all of its nodes are up.
func Start(ctx context.Context, o Options) (*Cell, error) {
	cfgs, err := Configs(o)
	if err != nil {
		return nil, err
	}
	cell := New(cfgs)
	if err := cell.start(ctx); err != nil {
		cell.Close()
		return nil, fmt.Errorf("start the cell: %w", err)
	}
	return cell, nil
}

// New is a cell of nodes that have not started.
func New(cfgs []node.Config) *Cell {
	c := &Cell{Configs: cfgs, nodes: map[string]*node.Node{}, Clients: map[string]*client.Client{}}
	for i := range cfgs {
		// Each client asks its own node first, and the others when that is gone.
		var addrs []string
		for k := range cfgs {
			addrs = append(addrs, cfgs[(i+k)%len(cfgs)].Listen)
		}
		c.Clients[cfgs[i].ID] = client.New(client.Options{Addrs: addrs, Name: "datanode demo " + cfgs[i].ID})
	}
	return c
}

// Client is one that asks the named node first.
func (c *Cell) Client(id string) *client.Client { return c.Clients[id] }

// start starts all nodes and waits until they are up.
func (c *Cell) start(ctx context.Context) error {
	nodes, err := StartAll(ctx, c.Configs)
	for i, n := range nodes {
		c.nodes[n.ID()] = n
		c.Configs[i].Listener = nil // the next start opens its own
	}
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if err := ready(ctx, n); err != nil {
			return err
		}
	}
	return c.AwaitNodes(ctx, "all nodes up", func(n wire.Node) bool { return n.State == "up" })
}

// Lose stops a node without a word.
func (c *Cell) Lose(id string) {
	n := c.nodes[id]
	delete(c.nodes, id)
	n.Kill()
	c.wrong += n.Mismatches()
}

// Again starts a lost node from its folder and waits until it serves.
func (c *Cell) Again(ctx context.Context, id string) error {
	for _, cfg := range c.Configs {
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

// AwaitNodes waits until the cell has all its nodes, and ok is true of each.
func (c *Cell) AwaitNodes(ctx context.Context, what string, ok func(wire.Node) bool) error {
	return Await(ctx, what, func() (bool, string, error) {
		nodes, err := c.Client(c.Configs[0].ID).Nodes(ctx)
		for _, n := range nodes {
			if !ok(n) {
				return false, fmt.Sprintf("%s is %s, %s, with %d files to drop", n.ID, n.State, n.Mode, n.Dropping), err
			}
		}
		return len(nodes) == len(c.Configs), fmt.Sprintf("%d of %d nodes are known", len(nodes), len(c.Configs)), err
	})
}

// WrongReplies is how many frames matched no call, at all nodes.
func (c *Cell) WrongReplies() uint64 {
	sum := c.wrong
	for _, n := range c.nodes {
		sum += n.Mismatches()
	}
	return sum
}

// Close stops all nodes and closes the clients.
func (c *Cell) Close() {
	for _, cl := range c.Clients {
		cl.Close()
	}
	var nodes []*node.Node
	for _, n := range c.nodes {
		nodes = append(nodes, n)
	}
	StopAll(nodes)
}

const (
	lookEvery = 200 * time.Millisecond
	// patience bounds each wait for the cell. It is far above what is needed.
	patience = 3 * time.Minute
)

// Await looks again and again until look says that it is so. The error says what it said last.
func Await(ctx context.Context, what string, look func() (ok bool, state string, err error)) error {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	pause := time.NewTicker(lookEvery)
	defer pause.Stop()
	for {
		ok, state, err := look()
		if ok || err != nil {
			return err
		}
		select {
		case <-pause.C:
		case <-limit.C:
			return fmt.Errorf("waited %s for %s: %s", patience, what, state)
		case <-ctx.Done():
			return fmt.Errorf("waited for %s: %s: %w", what, state, ctx.Err())
		}
	}
}
