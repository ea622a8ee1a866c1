package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/local"
	"github.com/datanode/datanode/cmd/datanode/internal/policyhost"
	"github.com/datanode/datanode/node"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

const (
	// maxDevVoters is how many of the nodes vote; the others follow the log.
	maxDevVoters = 5
	// devRepairDelay is short, so that a killed node's extents are seen to be repaired.
	devRepairDelay = "5s"
	// devUpLimit is how long the nodes of a new cell have to find each other.
	devUpLimit = 30 * time.Second
	devLook    = 50 * time.Millisecond
)

// development are the flags of dev.
type development struct {
	nodes             int
	dir, listen, http string
	logs              cli.LogFlags
}

func newDevCommand(a app) *cobra.Command {
	var d development
	cmd := &cobra.Command{
		Use: "dev", Short: "Run a whole cell in one process, to try things on", Args: cli.Takes(0, 0),
		Long: "Run a whole cell in one process until it is interrupted. The nodes listen on consecutive ports. " +
			"Without --dir their data is removed at the end.",
		Example: "  datanode dev\n  datanode dev --nodes 4 --dir ./cell",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.dev(cmd.Context(), d) },
	}
	flags := cmd.Flags()
	flags.IntVar(&d.nodes, "nodes", 3, "how many nodes")
	flags.StringVar(&d.dir, "dir", "", "keep the data here (default: a temporary folder, removed at the end)")
	flags.StringVar(&d.listen, "listen", "127.0.0.1:7400", "HOST:PORT of the first node")
	flags.StringVar(&d.http, "http", "127.0.0.1:7480",
		"HOST:PORT of the first node's health checks and metrics; empty for none")
	d.logs.Add(cmd, cli.LogOff)
	return cmd
}

func (d development) valid() error {
	if d.nodes < 1 || d.nodes > local.MaxNodes {
		return exit.Usagef("--nodes %d: want 1 to %d", d.nodes, local.MaxNodes)
	}
	for _, addr := range []string{d.listen, d.http} {
		if addr == "" {
			continue
		}
		if err := cli.CheckAddr(addr); err != nil {
			return err
		}
		if !loopback(addr) {
			return exit.Usagef("%s can be reached from other machines; dev listens on this one only, use 127.0.0.1", addr)
		}
	}
	if d.listen == "" {
		return exit.Usagef("--listen is empty; want HOST:PORT")
	}
	return nil
}

// dev runs a cell until ctx ends.
func (a app) dev(ctx context.Context, d development) (err error) {
	if err := cmp.Or(d.valid(), a.NoTLS("dev")); err != nil {
		return err
	}
	logger, err := d.logs.Logger(a.Stderr)
	if err != nil {
		return err
	}
	if d.dir == "" {
		if d.dir, err = os.MkdirTemp("", "datanode-dev-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()
	}
	host, err := policyhost.New(ctx, logger, filepath.Join(d.dir, policyhost.CacheDir))
	if err != nil {
		return err
	}
	defer host.Close(context.WithoutCancel(ctx))
	cfgs, err := local.Configs(local.Options{
		Dir: d.dir, Listen: d.listen, HTTP: d.http, Nodes: d.nodes, Voters: min(d.nodes, maxDevVoters),
		Replicas:    min(d.nodes, 3),
		RepairDelay: devRepairDelay, Policies: policyhost.For(host), Logger: logger,
	})
	if err != nil {
		return err
	}
	nodes, err := local.StartAll(ctx, cfgs)
	defer func() { local.StopAll(nodes) }()
	if err != nil {
		return err
	}
	return a.devCell(ctx, nodes)
}

// devCell waits for the cell, welcomes, and waits for the end.
func (a app) devCell(ctx context.Context, nodes []*node.Node) error {
	for _, n := range nodes {
		select {
		case <-n.Ready():
		case <-n.Done():
			return local.Stopped(n)
		case <-ctx.Done():
			return nil
		}
	}
	if err := awaitUp(ctx, nodes); err != nil || ctx.Err() != nil {
		return err
	}
	if err := a.welcome(nodes); err != nil {
		return err
	}
	stopped := make(chan error, len(nodes))
	for _, n := range nodes {
		go func() {
			<-n.Done()
			stopped <- local.Stopped(n)
		}()
	}
	select {
	case err := <-stopped:
		return err
	case <-ctx.Done():
		a.Note("datanode: stopping the nodes; interrupt again to stop at once")
		return nil
	}
}

// awaitUp waits until the cell counts on all nodes: a node knows that it is ready before the others do,
// and what is put in between would be on fewer of them.
func awaitUp(ctx context.Context, nodes []*node.Node) error {
	ctx, cancel := context.WithTimeout(ctx, devUpLimit)
	defer cancel()
	c := client.New(client.Options{Addrs: []string{nodes[0].Addr()}})
	defer c.Close()
	look := time.NewTicker(devLook)
	defer look.Stop()
	for {
		known, err := c.Nodes(ctx)
		up := 0
		for _, n := range known {
			if n.State == "up" {
				up++
			}
		}
		switch {
		case errors.Is(ctx.Err(), context.Canceled):
			return nil
		case err != nil:
			return err
		case up == len(nodes):
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil
			}
			return fmt.Errorf("only %d of %d nodes came up within %s; see --log-level INFO", up, len(nodes), devUpLimit)
		}
	}
}

// welcome prints the addresses on stdout, since a script needs them, and what to try on stderr.
func (a app) welcome(nodes []*node.Node) error {
	for _, n := range nodes {
		line := n.ID() + "  " + n.Addr()
		if h := n.HTTPAddr(); h != "" {
			line += "  http://" + h
		}
		if err := a.Print("%s", line); err != nil {
			return err
		}
	}
	addr := ""
	if first := nodes[0].Addr(); first != "127.0.0.1:7400" {
		addr = " --addr " + first
	}
	a.Note("\nA cell of %d nodes is ready. In another terminal, try:\n  datanode put FILE%s\n  datanode extent ls%s\n"+
		"  datanode op ls%s\nInterrupt to stop.",
		len(nodes), addr, addr, addr)
	return nil
}
