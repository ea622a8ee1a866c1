package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/node"
	"github.com/datanode/datanode/node/modules"
	"github.com/datanode/datanode/plugins"
)

// MaxNodes is how many nodes a cell in one process can have.
const MaxNodes = 9

// Options say what cell is wanted.
type Options struct {
	Dir           string // of which each node gets a folder
	Listen, HTTP  string // of the first node; the others follow on the next ports. Without HTTP there is none.
	Nodes, Voters int    // the first of the nodes vote, the others follow the log
	Replicas      int    // of an extent
	RepairDelay   string
	Policies      modules.Host
	Logger        *slog.Logger
}

// Configs opens the listeners, so that an address in use is reported before anything runs, and gives each
// node's configuration.
func Configs(o Options) ([]node.Config, error) {
	listeners, err := listenFrom(o.Listen, o.Nodes)
	if err != nil {
		return nil, err
	}
	var voters []node.Peer
	for i, l := range listeners[:min(o.Nodes, o.Voters)] {
		voters = append(voters, node.Peer{ID: ID(i), Addr: l.Addr().String()})
	}
	cfgs := make([]node.Config, o.Nodes)
	for i, l := range listeners {
		cfgs[i] = node.Config{
			ID: ID(i), Dir: filepath.Join(o.Dir, ID(i)), Listener: l, Listen: l.Addr().String(),
			Policies: o.Policies, DefaultModule: plugins.Default(),
			Settings: map[string]string{"repair-delay": o.RepairDelay, "replicas": strconv.Itoa(o.Replicas)},
			Logger:   o.Logger, Version: cli.BuildInfo().Version, Fast: true,
		}
		if i < len(voters) {
			cfgs[i].Bootstrap = voters
		} else {
			cfgs[i].Join = []string{voters[0].Addr}
		}
		if o.HTTP == "" {
			continue
		}
		if cfgs[i].HTTP, err = addPort(o.HTTP, i); err != nil {
			for _, l := range listeners {
				l.Close()
			}
			return nil, err
		}
	}
	return cfgs, nil
}

// ID is the ID of the node with this index.
func ID(i int) string { return "n" + strconv.Itoa(i+1) }

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
		return exit.With(exit.Failed,
			"%s is in use, perhaps by another cell; stop that, or choose other ports with --listen and --http", addr)
	}
	return exit.With(exit.Failed, "cannot listen on %s: %w", addr, err)
}

// addPort is addr with a port that is higher by i; port 0 stays.
func addPort(addr string, i int) (string, error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", exit.Usagef("%w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil || port < 0 || port+i > 65535 {
		return "", exit.Usagef("%s: want a port with %d more above it, up to 65535", addr, i)
	}
	if port > 0 {
		port += i
	}
	return net.JoinHostPort(host, strconv.Itoa(port)), nil
}

// StartAll starts the nodes. With an error come those that have started.
func StartAll(ctx context.Context, cfgs []node.Config) ([]*node.Node, error) {
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

// StopAll stops the nodes together: one after the other would elect leaders to the end.
func StopAll(nodes []*node.Node) {
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(func() { n.Close() })
	}
	wg.Wait()
}

// ready waits until a node serves.
func ready(ctx context.Context, n *node.Node) error {
	select {
	case <-n.Ready():
		return nil
	case <-n.Done():
		return Stopped(n)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stopped is the error of a node that has stopped.
func Stopped(n *node.Node) error {
	return fmt.Errorf("%s stopped: %w", n.ID(), OrStopped(n.Err()))
}

// OrStopped is why a node stopped.
func OrStopped(err error) error {
	if err == nil {
		return errors.New("it was closed")
	}
	return err
}
