package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/datanode/datanode/node"
	"github.com/datanode/datanode/node/modules"
	"github.com/datanode/datanode/plugins"
	"github.com/datanode/datanode/wire/client"
	"github.com/spf13/cobra"
)

const (
	maxDevNodes = 9
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
	logs              logFlags
}

func newDevCommand(a *app) *cobra.Command {
	var d development
	cmd := &cobra.Command{
		Use: "dev", Short: "Run a whole cell in one process, to try things on", Args: takes(0, 0),
		Long:    "Run a whole cell in one process until it is interrupted. The nodes listen on consecutive ports. Without --dir their data is removed at the end.",
		Example: "  datanode dev\n  datanode dev --nodes 4 --dir ./cell",
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.dev(cmd.Context(), d) },
	}
	flags := cmd.Flags()
	flags.IntVar(&d.nodes, "nodes", 3, "how many nodes")
	flags.StringVar(&d.dir, "dir", "", "keep the data here (default: a temporary folder, removed at the end)")
	flags.StringVar(&d.listen, "listen", "127.0.0.1:7400", "HOST:PORT of the first node")
	flags.StringVar(&d.http, "http", "127.0.0.1:7480", "HOST:PORT of the first node's health checks and metrics; empty for none")
	d.logs.add(cmd, logOff)
	return cmd
}

func (d development) valid() error {
	if d.nodes < 1 || d.nodes > maxDevNodes {
		return usagef("--nodes %d: want 1 to %d", d.nodes, maxDevNodes)
	}
	for _, addr := range []string{d.listen, d.http} {
		if addr == "" {
			continue
		}
		if err := checkAddr(addr); err != nil {
			return err
		}
		if !loopback(addr) {
			return usagef("%s can be reached from other machines; dev listens on this one only, use 127.0.0.1", addr)
		}
	}
	if d.listen == "" {
		return usagef("--listen is empty; want HOST:PORT")
	}
	return nil
}

// noTLS refuses certificates for a cell in one process: its nodes speak plaintext, and to believe otherwise would harm.
func (a *app) noTLS(command string) error {
	if a.tlsFiles.Any() {
		return usagef("the nodes of %s speak plaintext, to this machine only; --tls-cert, --tls-key and --tls-ca are for datanode serve", command)
	}
	return nil
}

// dev runs a cell until ctx ends.
func (a *app) dev(ctx context.Context, d development) (err error) {
	if err := firstError(d.valid(), a.noTLS("dev")); err != nil {
		return err
	}
	logger, err := d.logs.logger(a.stderr)
	if err != nil {
		return err
	}
	if d.dir == "" {
		if d.dir, err = os.MkdirTemp("", "datanode-dev-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()
	}
	host, err := newHost(ctx, logger, filepath.Join(d.dir, compiledDir))
	if err != nil {
		return err
	}
	defer host.Close(context.WithoutCancel(ctx))
	cfgs, err := d.configs(logger, policyHost{host})
	if err != nil {
		return err
	}
	nodes, err := startAll(ctx, cfgs)
	defer func() { stopAll(nodes) }()
	if err != nil {
		return err
	}
	return a.devCell(ctx, nodes)
}

// configs opens the listeners, so that an address in use is told before anything runs, and gives each
// node's configuration.
func (d development) configs(logger *slog.Logger, policies modules.Host) ([]node.Config, error) {
	listeners, err := listenFrom(d.listen, d.nodes)
	if err != nil {
		return nil, err
	}
	var voters []node.Peer
	for i, l := range listeners[:min(d.nodes, maxDevVoters)] {
		voters = append(voters, node.Peer{ID: devID(i), Addr: l.Addr().String()})
	}
	cfgs := make([]node.Config, d.nodes)
	for i, l := range listeners {
		cfgs[i] = node.Config{
			ID: devID(i), Dir: filepath.Join(d.dir, devID(i)), Listener: l, Policies: policies, DefaultModule: plugins.Default(),
			Settings: map[string]string{"repair-delay": devRepairDelay, "replicas": strconv.Itoa(min(d.nodes, 3))},
			Logger:   logger, Version: buildInfo().Version, Fast: true,
		}
		if i < len(voters) {
			cfgs[i].Bootstrap = voters
		} else {
			cfgs[i].Join = []string{voters[0].Addr}
		}
		if d.http == "" {
			continue
		}
		if cfgs[i].HTTP, err = addPort(d.http, i); err != nil {
			for _, l := range listeners {
				l.Close()
			}
			return nil, err
		}
	}
	return cfgs, nil
}

func devID(i int) string { return "n" + strconv.Itoa(i+1) }

// listenFrom listens on n consecutive ports, or on n free ones for port 0.
func listenFrom(first string, n int) ([]net.Listener, error) {
	var all []net.Listener
	for i := range n {
		addr, err := addPort(first, i)
		if err != nil {
			return nil, err
		}
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
		if err != nil {
			for _, l := range all {
				l.Close()
			}
			return nil, listenError(addr, err)
		}
		all = append(all, l)
	}
	return all, nil
}

func listenError(addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return withCode(exitFailed, "%s is in use, perhaps by another cell; stop that, or choose other ports with --listen and --http", addr)
	}
	return withCode(exitFailed, "cannot listen on %s: %w", addr, err)
}

// addPort is addr with a port that is higher by i; port 0 stays.
func addPort(addr string, i int) (string, error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", usagef("%w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil || port < 0 || port+i > 65535 {
		return "", usagef("%s: want a port with %d more above it, up to 65535", addr, i)
	}
	if port > 0 {
		port += i
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}

// startAll starts the nodes. With an error come those that have started.
func startAll(ctx context.Context, cfgs []node.Config) ([]*node.Node, error) {
	var nodes []*node.Node
	for i, cfg := range cfgs {
		n, err := node.Start(ctx, cfg)
		if err != nil {
			for _, rest := range cfgs[i:] {
				rest.Listener.Close()
			}
			return nodes, fmt.Errorf("%s: %w", cfg.ID, err)
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

// stopAll stops the nodes together: one after the other would elect leaders to the end.
func stopAll(nodes []*node.Node) {
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(func() { n.Close() })
	}
	wg.Wait()
}

// devCell waits for the cell, welcomes, and waits for the end.
func (a *app) devCell(ctx context.Context, nodes []*node.Node) error {
	for _, n := range nodes {
		select {
		case <-n.Ready():
		case <-n.Done():
			return fmt.Errorf("%s stopped: %w", n.ID(), orStopped(n.Err()))
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
			stopped <- fmt.Errorf("%s stopped: %w", n.ID(), orStopped(n.Err()))
		}()
	}
	select {
	case err := <-stopped:
		return err
	case <-ctx.Done():
		a.note("datanode: stopping the nodes; interrupt again to stop at once")
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
func (a *app) welcome(nodes []*node.Node) error {
	for _, n := range nodes {
		line := n.ID() + "  " + n.Addr()
		if h := n.HTTPAddr(); h != "" {
			line += "  http://" + h
		}
		if err := a.print("%s", line); err != nil {
			return err
		}
	}
	addr := ""
	if first := nodes[0].Addr(); first != "127.0.0.1:7400" {
		addr = " --addr " + first
	}
	a.note("\nA cell of %d nodes is ready. In another terminal, try:\n  datanode put FILE%s\n  datanode extent ls%s\n  datanode op ls%s\nInterrupt to stop.",
		len(nodes), addr, addr, addr)
	return nil
}
