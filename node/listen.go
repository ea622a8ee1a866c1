package node

import (
	"context"
	"fmt"
	"net"

	"github.com/datanode/datanode/node/transport"
	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire"
)

// listen opens the listener of cfg.
func listen(ctx context.Context, cfg Config) (net.Listener, error) {
	if cfg.Listener != nil {
		return cfg.Listener, nil
	}
	if open := !loopback(cfg.Listen) && !cfg.TLS.Any(); open && !cfg.Insecure {
		return nil, fmt.Errorf("%s can be reached from other machines and there is no certificate: "+
			"anyone who reaches it could read and delete data; "+
			"give one with --tls-cert, --tls-key and --tls-ca, listen on 127.0.0.1, or accept it with --insecure", cfg.Listen)
	} else if open {
		cfg.Logger.Warn("insecure: this node speaks plaintext beyond this machine; anyone who reaches it can read and delete",
			"listen", cfg.Listen)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w; is another node running there? choose another --listen",
			cfg.Listen, err)
	}
	return l, nil
}

// newTransport makes the connections of a node, and what they ask of it.
func (n *Node) newTransport(l net.Listener, source *pki.Source) *transport.Transport {
	known := append([]string(nil), n.cfg.Join...)
	for _, p := range n.cfg.Bootstrap {
		known = append(known, p.Addr)
	}
	var calls []wire.OpType
	for op := range n.routes {
		calls = append(calls, op)
	}
	return transport.New(n.life.ctx, transport.Options{
		Listener: l, Source: source, Dial: n.cfg.Dial, Clock: n.cfg.Clock, Logger: n.logger,
		FirstByte: n.time.firstByte, DialLimit: n.time.dialLimit, Silence: n.time.silence,
		Hello:   n.hello,
		Blank:   func() bool { return n.log.LastIndex() <= bootstrapIndex },
		Members: n.opened.members,
		Serve:   n.serveCall,
		IsNode:  n.opened.isNode, Proven: n.opened.provenAt, Refuse: n.divergences.Refuse, Known: known, Calls: calls,
		ClientMemory: n.cfg.ClientMemory,
	})
}

// checkHost refuses a certificate that is not for the address that others dial.
func (n *Node) checkHost(source *pki.Source) error {
	if source == nil {
		return nil
	}
	host, _, err := net.SplitHostPort(n.addr)
	if err == nil {
		err = source.CheckHost(host)
	}
	if err != nil {
		return fmt.Errorf("others will dial %s, which certificate %s is not for: %w; "+
			"say another --advertise, or make one with datanode cert node %s --host %s",
			n.addr, n.cfg.TLS.Cert, err, n.id, host)
	}
	return nil
}

// hello is what this node says of itself on a connection.
func (n *Node) hello() transport.Hello {
	return transport.Hello{Cell: n.folder.Cell(), Era: n.folder.Era(), Node: n.cfg.ID, Incarnation: n.incarnation}
}
