package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"github.com/datanode/datanode/cmd/datanode/internal/cli"
	"github.com/datanode/datanode/cmd/datanode/internal/exit"
	"github.com/datanode/datanode/cmd/datanode/internal/local"
	"github.com/datanode/datanode/cmd/datanode/internal/policyhost"
	"github.com/datanode/datanode/cmd/datanode/internal/term"
	"github.com/datanode/datanode/node"
	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/plugins"
	"github.com/spf13/cobra"
)

// serving are the flags of serve.
type serving struct {
	id, listen, http, advertise, config string
	dirs, bootstrap, join, httpHosts    []string
	httpPlain                           bool
	tls                                 pki.Files
	insecure                            bool
	logs                                cli.LogFlags
	clientMemory, repairMemory          byteFlag
}

func newServeCommand(a app) *cobra.Command {
	var s serving
	cmd := &cobra.Command{
		Example: `  datanode serve --id n1 --dir n1 --listen 127.0.0.1:7401 \
    --bootstrap n1=127.0.0.1:7401,n2=127.0.0.1:7402,n3=127.0.0.1:7403
  datanode serve --id n4 --dir n4 --listen 127.0.0.1:7404 --join 127.0.0.1:7401`,
		Use:   "serve --id ID --dir DIR[,DIR…] --listen HOST:PORT (--bootstrap ID=HOST:PORT,… | --join HOST:PORT)",
		Short: "Run one node", Args: cli.Takes(0, 0),
		Long: `Run one node until it is interrupted. The first nodes of a cell are all given the same --bootstrap list;
further ones --join it. Both are needed only while the data folder is new.

A node with several disks is given a folder on each: --dir /a/n1,/b/n1,/c/n1. The first has the operation log, and the
node stops when that disk fails; one that fails of the others stops nothing else: see datanode disk.

Each flag may instead come from the environment (DATANODE_LISTEN for --listen) or from the file that
--config names: a JSON object of flags, such as {"id": "n1", "dir": "/srv/n1", "join": ["10.0.0.1:7400"]}.

With --tls-cert, --tls-key and --tls-ca the node speaks TLS only, to holders of certificates of the same authority:
see datanode cert. Without, it listens on this machine only, unless --insecure allows more.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.fillFlags(cmd); err != nil {
				return err
			}
			return a.serve(cmd.Context(), s)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&s.id, "id", "", "ID of this node, such as n1")
	flags.StringSliceVar(&s.dirs, "dir", nil,
		"data folder; may be repeated: the first has the log, each further one is on a disk of its own")
	flags.StringVar(&s.listen, "listen", "", "HOST:PORT for clients, peers and raft")
	flags.StringVar(&s.advertise, "advertise", "", "HOST:PORT that others dial (default: that of --listen)")
	flags.StringVar(&s.http, "http", "", "HOST:PORT for health checks and metrics (default: none)")
	flags.StringSliceVar(&s.httpHosts, "http-host", nil,
		"name that --http may be asked by; may be repeated (default: this machine's, those that others dial, "+
			"and any address)")
	flags.BoolVar(&s.httpPlain, "http-plain", false, "speak plaintext on --http also when there is a certificate")
	flags.StringSliceVar(&s.bootstrap, "bootstrap", nil,
		"the voters of a new cell, ID=HOST:PORT,…, this node among them")
	flags.StringSliceVar(&s.join, "join", nil, "HOST:PORT of nodes of the cell to join")
	flags.StringVar(&s.config, flagConfig, "", "JSON file with further flags")
	cli.TLSFlags(flags.StringVar, &s.tls)
	flags.BoolVar(&s.insecure, "insecure", false,
		"listen beyond this machine without TLS: anyone who reaches the port can read and delete")
	s.clientMemory = byteFlag{n: node.DefaultClientMemory, least: node.LeastClientMemory, most: 1 << 40}
	flags.Var(&s.clientMemory, "client-memory", "bytes that clients may make this node hold, all together")
	s.repairMemory = byteFlag{n: node.DefaultRepairMemory, least: node.LeastRepairMemory, most: 1 << 40}
	flags.Var(&s.repairMemory, "repair-memory", "bytes that repairs and moves may make this node hold, all together")
	s.logs.Add(cmd, slog.LevelInfo.String())
	return cmd
}

// nodeConfig checks the flags and makes a node's configuration of them.
func (s serving) nodeConfig() (node.Config, error) {
	cfg := node.Config{ID: s.id, Listen: s.listen, HTTP: s.http, Advertise: s.advertise, Join: s.join,
		HTTPHosts: s.httpHosts, HTTPPlain: s.httpPlain, TLS: s.tls, Insecure: s.insecure, Version: cli.BuildInfo().Version,
		ClientMemory: int(s.clientMemory.n), RepairMemory: int(s.repairMemory.n)}
	if len(s.dirs) > 0 {
		cfg.Dir, cfg.Disks = s.dirs[0], s.dirs[1:]
	}
	for _, need := range []struct{ flag, value string }{{"--id", s.id}, {"--dir", cfg.Dir}, {"--listen", s.listen}} {
		if need.value == "" {
			return cfg, exit.Usagef("serve needs %s; see datanode serve --help", need.flag)
		}
	}
	if len(s.bootstrap) > 0 && len(s.join) > 0 {
		return cfg, exit.Usagef("a node either starts a new cell with --bootstrap or enters one with --join, not both")
	}
	if err := checkNodeID(s.id); err != nil {
		return cfg, exit.Usagef("--id: %w", err)
	}
	for _, addr := range append([]string{s.listen}, s.join...) {
		if err := cli.CheckAddr(addr); err != nil {
			return cfg, err
		}
	}
	if err := cmp.Or(s.checkSecurity(), s.checkCertificate()); err != nil {
		return cfg, err
	}
	var err error
	cfg.Bootstrap, err = parsePeers("--bootstrap", s.bootstrap)
	if err == nil && len(cfg.Bootstrap) > 0 && !slices.ContainsFunc(cfg.Bootstrap,
		func(p node.Peer) bool { return p.ID == s.id }) {
		err = exit.Usagef("--bootstrap does not name this node, %s; every first node is given the same list", s.id)
	}
	return cfg, err
}

// maxNodeID bounds the ID of a node, which is in every table and file name.
const maxNodeID = 63

// checkNodeID reports whether id is one word that tables, lists and file names can hold.
func checkNodeID(id string) error {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"
	if id == "" || len(id) > maxNodeID || strings.Trim(id, plain) != "" || strings.ContainsAny(id[:1], ".-") {
		return fmt.Errorf(
			"%q is not the ID of a node: want at most %d letters, digits, dots, dashes and underscores, such as n1", id,
			maxNodeID)
	}
	return nil
}

func (s serving) checkSecurity() error {
	if err := cli.CheckTLS(s.tls); err != nil {
		return err
	}
	switch {
	case s.tls.Any() && s.insecure:
		return exit.Usagef("--insecure allows what --tls-cert forbids; want one of them")
	case !s.open() || s.insecure:
		return nil
	}
	return exit.Usagef("%s can be reached from other machines, and there is no certificate: "+
		"anyone who reaches it could read and delete; make one with datanode cert and give it with --tls-cert, "+
		"listen on 127.0.0.1, or accept that with --insecure", s.listen)
}

// checkCertificate reports whether --tls-cert is that of the node that --id names.
func (s serving) checkCertificate() error {
	if !s.tls.Complete() {
		return nil
	}
	source, err := pki.Open(s.tls)
	if err != nil {
		return exit.File(err)
	}
	if id := source.Identity(); id.Role != pki.RoleNode || id.Name != s.id {
		return exit.Usagef("certificate %s is that of %s, this is node %s; make one with datanode cert node %s", s.tls.Cert,
			id, s.id, s.id)
	}
	return nil
}

// open reports whether other machines can talk to the node without a certificate.
func (s serving) open() bool { return !loopback(s.listen) && !s.tls.Any() }

// parsePeers reads ID=HOST:PORT,… of a flag.
func parsePeers(flag string, list []string) ([]node.Peer, error) {
	var peers []node.Peer
	for _, s := range list {
		id, addr, ok := strings.Cut(s, "=")
		if !ok || id == "" {
			return nil, exit.Usagef("%s: %q is not ID=HOST:PORT, such as n1=127.0.0.1:7400", flag, s)
		}
		if err := checkNodeID(id); err != nil {
			return nil, exit.Usagef("%s: %w", flag, err)
		}
		if err := cli.CheckAddr(addr); err != nil {
			return nil, exit.Usagef("%s: %w", flag, err)
		}
		peers = append(peers, node.Peer{ID: id, Addr: addr})
	}
	return peers, nil
}

// loopback reports whether only this machine reaches addr.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (a app) serve(ctx context.Context, s serving) error {
	cfg, err := s.nodeConfig()
	if err != nil {
		return err
	}
	if cfg.Logger, err = s.logs.Logger(a.Stderr); err != nil {
		return err
	}
	if s.open() {
		a.Note("datanode: INSECURE: %s speaks plaintext on %s; anyone who reaches it can read and delete; see datanode cert",
			s.id, s.listen)
	}
	host, err := policyhost.New(ctx, cfg.Logger, filepath.Join(cfg.Dir, policyhost.CacheDir))
	if err != nil {
		return err
	}
	defer host.Close(context.WithoutCancel(ctx))
	cfg.Policies, cfg.DefaultModule = policyhost.For(host), plugins.Default()
	n, err := node.Start(ctx, cfg)
	if err != nil {
		return err
	}
	go a.announce(ctx, n)
	select {
	case <-n.Done():
		return fmt.Errorf("node %s stopped: %w", cfg.ID, local.OrStopped(n.Err()))
	case <-ctx.Done():
	}
	a.Note("datanode: %s is finishing what it does; interrupt again to stop at once", cfg.ID)
	if err := n.Drain(context.WithoutCancel(ctx)); err != nil {
		a.Note("datanode: %s was cut off: %s", cfg.ID, term.OneLine(err.Error()))
	}
	return cmp.Or(n.Err(), n.Close())
}

// announce says when a node is ready.
func (a app) announce(ctx context.Context, n *node.Node) {
	select {
	case <-n.Ready():
	case <-n.Done():
		return
	case <-ctx.Done():
		return
	}
	where := n.Addr()
	if h := n.HTTPURL(); h != "" {
		where += ", " + h
	}
	a.Note("datanode: %s is ready at %s", n.ID(), where)
}
