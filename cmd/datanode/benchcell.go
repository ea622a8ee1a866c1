package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/local"
	"github.com/datanode/datanode/wire/client"
)

const (
	benchVoters = 3
	benchPoll   = 50 * time.Millisecond // between two looks at a cell that something is awaited of
)

// benchCell is a cell of a benchmark's own, each node in a process of its own, so that one can be lost. One goroutine
// at a time starts or kills nodes.
type benchCell struct {
	dir   string
	nodes []*exec.Cmd // nil once it was killed
	addrs []string
}

// startBenchCell starts nodes of a program ("": this one), the first of which vote, and waits until all are up. Stop
// has to be called also when there is an error.
func startBenchCell(ctx context.Context, program, dir string, count int) (c *benchCell, err error) {
	c = &benchCell{dir: dir}
	if program == "" {
		if program, err = os.Executable(); err != nil {
			return c, err
		}
	}
	if c.addrs, err = freeAddrs(count); err != nil {
		return c, err
	}
	var founders []string
	for i, addr := range c.addrs[:benchVoters] {
		founders = append(founders, local.ID(i)+"="+addr)
	}
	for i, addr := range c.addrs {
		enter := []string{"--bootstrap", strings.Join(founders, ",")}
		if i >= benchVoters {
			enter = []string{"--join", c.addrs[0]}
		}
		if err := c.startNode(ctx, program, local.ID(i), addr, enter); err != nil {
			return c, err
		}
	}
	return c, c.ready(ctx, count)
}

func freeAddrs(count int) ([]string, error) {
	var all []string
	for range count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // only when all are there, so that no two are the same
		all = append(all, l.Addr().String())
	}
	return all, nil
}

func (c *benchCell) startNode(ctx context.Context, program, id, addr string, enter []string) error {
	log, err := os.Create(filepath.Join(c.dir, id+".log"))
	if err != nil {
		return exit.File(err)
	}
	defer log.Close() // the process has its own
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program, append([]string{"serve", "--id", id, "--dir",
		filepath.Join(c.dir, id), "--listen", addr, "--log-level", "WARN"}, enter...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start node %s: %w", id, err)
	}
	c.nodes = append(c.nodes, cmd)
	return nil
}

// client asks the nodes that vote, which are not lost.
func (c *benchCell) client() *client.Client { return clientOf(c.addrs[:benchVoters]) }

// clientAt is a client of its own that begins at one of the nodes that vote, and goes on at the others.
func (c *benchCell) clientAt(i int) *client.Client {
	first := i % benchVoters
	return clientOf(slices.Concat(c.addrs[first:benchVoters], c.addrs[:first]))
}

func clientOf(addrs []string) *client.Client {
	return client.New(client.Options{Addrs: addrs, Name: "datanode bench", ConnectFor: time.Minute, RetryFor: time.Minute})
}

// ready waits until count nodes are up.
func (c *benchCell) ready(ctx context.Context, count int) error {
	cl := c.client()
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	err := benchAwait(ctx, func() (bool, error) {
		nodes, err := cl.Nodes(ctx)
		up := 0
		for _, n := range nodes {
			if n.State == "up" && n.Total > 0 { // else nothing is placed there yet
				up++
			}
		}
		return up == count, err
	})
	if err != nil {
		return fmt.Errorf("the cell of the benchmark does not start: %w; its nodes said: %s", err, c.said())
	}
	return nil
}

// benchAwait looks again and again until what is awaited is there.
func benchAwait(ctx context.Context, look func() (bool, error)) error {
	for {
		done, err := look()
		if done || err != nil {
			return err
		}
		select {
		case <-time.After(benchPoll):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// said is the end of what the nodes have logged.
func (c *benchCell) said() string {
	const most = 500
	var all []string
	for i := range c.nodes {
		text, err := os.ReadFile(filepath.Join(c.dir, local.ID(i)+".log"))
		if text = bytes.TrimSpace(text); err == nil && len(text) > 0 {
			all = append(all, local.ID(i)+": "+string(text[max(0, len(text)-most):]))
		}
	}
	return strings.Join(all, "\n")
}

// kill ends a node's process as if its machine had lost power.
func (c *benchCell) kill(i int) {
	if cmd := c.nodes[i]; cmd != nil {
		_ = errors.Join(cmd.Process.Kill(), cmd.Wait()) // killed is what it should be
		c.nodes[i] = nil
	}
}

func (c *benchCell) stop() {
	for i := range c.nodes {
		c.kill(i)
	}
}
