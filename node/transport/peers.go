package transport

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// whoIsAtLimit bounds the question who is at an address.
const whoIsAtLimit = time.Second

// peers are the connections for calls that this node has dialed, one to each address. A broken one is
// forgotten; the next call dials again. There is no pool: a connection carries all calls at once,
// and one that is in doubt is never used again.
type peers struct {
	ctx    context.Context // ends when the node stops
	o      *Options
	config func() mux.Config // of one more connection
	secure *security         // nil: plaintext
	table  *ConnTable

	wg sync.WaitGroup // dials, and what waits for their connections to end

	mu     sync.Mutex
	closed bool                 // Guarded by mu.
	byAddr map[string]*peerConn // Guarded by mu.
}

// peerConn is a connection, or the dial of one.
type peerConn struct {
	ready chan struct{} // closed when conn and err are set
	conn  *mux.Conn
	err   error
}

func newPeers(ctx context.Context, o *Options, secure *security, table *ConnTable, config func() mux.Config) *peers {
	return &peers{ctx: ctx, o: o, secure: secure, table: table, config: config, byAddr: map[string]*peerConn{}}
}

// conn is a working connection to the node at addr. An empty node is not checked.
func (p *peers) conn(ctx context.Context, node, addr string) (*mux.Conn, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, wire.Errorf(0, wire.CodeUnavailable, "this node is stopping")
	}
	c := p.byAddr[addr]
	if c == nil {
		c = &peerConn{ready: make(chan struct{})}
		p.byAddr[addr] = c
		p.wg.Add(1)
		go p.dial(c, addr)
	}
	p.mu.Unlock()
	select {
	case <-c.ready:
		if c.err != nil {
			return nil, c.err
		}
		if got := c.conn.Peer().Node; node != "" && got != node {
			return nil, wire.Errorf(0, wire.CodeWrongCell, "%s is node %q, want %q", addr, got, node)
		}
		return c.conn, nil
	case <-ctx.Done():
		return nil, wire.Errorf(0, wire.CodeDeadline, "no connection to %s at %s in time", node, addr)
	}
}

// dial runs until the connection ends, then forgets it.
func (p *peers) dial(c *peerConn, addr string) {
	defer p.wg.Done()
	ctx, cancel := context.WithTimeout(p.ctx, p.o.DialLimit)
	defer cancel()
	var cert *pki.Conn
	c.conn, cert, c.err = p.connect(ctx, addr)
	ended := func() {}
	if conn := c.conn; c.err == nil {
		ended = p.table.add(conn, Connection{
			Peer: conn.Peer().Node, Role: p.secure.role(), Direction: DirectionOut, Protocol: ProtocolFrames,
			cert: cert, end: func(why *wire.Error) { conn.Expel(p.ctx, why) },
		})
	}
	close(c.ready)
	if c.err == nil {
		<-c.conn.Done()
	}
	p.mu.Lock()
	if p.byAddr[addr] == c {
		delete(p.byAddr, addr)
	}
	p.mu.Unlock()
	if c.err == nil {
		c.conn.Close()
		ended()
	}
}

func (p *peers) connect(ctx context.Context, addr string) (*mux.Conn, *pki.Conn, error) {
	nc, err := p.o.Dial(ctx, addr)
	if err != nil {
		return nil, nil, wire.Errorf(0, wire.CodeUnavailable, "cannot reach %s: %v", addr, err)
	}
	cfg := p.config()
	var cert *pki.Conn
	if p.secure != nil {
		if cert, cfg.ExpectNode, err = p.secure.dialFrames(ctx, nc, addr); err != nil {
			return nil, nil, wire.Errorf(0, wire.CodeUnavailable, "cannot reach %s: %v", addr, err)
		}
		nc = cert
	}
	conn, err := mux.Client(ctx, nc, cfg)
	switch {
	case err == nil:
		return conn, cert, nil
	case ctx.Err() != nil: // the limit of the dial, not the caller's: whoever waits for this may try again
		return nil, nil, wire.Errorf(0, wire.CodeUnavailable, "%s does not answer: %v", addr, err)
	case p.secure == nil && wire.CodeOf(err) == wire.CodeConnection && !mux.AtFault(err):
		return nil, nil, fmt.Errorf("%s: %w; a node hangs up on others without --tls-cert, --tls-key and --tls-ca when "+
			"it speaks TLS only, and on more connections than it takes from one address", addr, err)
	}
	return nil, nil, fmt.Errorf("%s: %w", addr, err)
}

// whoIsAt is Transport.WhoIsAt.
func (p *peers) whoIsAt(ctx context.Context, addr string) (wire.Hello, error) {
	ctx, cancel := context.WithTimeout(ctx, whoIsAtLimit)
	defer cancel()
	nc, err := p.o.Dial(ctx, addr)
	if err != nil {
		return wire.Hello{}, nil
	}
	nc.Close()
	conn, _, err := p.connect(ctx, addr)
	switch {
	case err == nil:
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded), wire.CodeOf(err) == wire.CodeDeadline:
		return wire.Hello{}, err
	default:
		return wire.Hello{}, nil
	}
	defer conn.Close()
	return conn.Peer(), nil
}

func (p *peers) close() {
	p.mu.Lock()
	p.closed = true
	waiting := make([]*peerConn, 0, len(p.byAddr))
	for _, c := range p.byAddr {
		waiting = append(waiting, c)
	}
	p.mu.Unlock()
	for _, c := range waiting {
		<-c.ready
		if c.err == nil {
			c.conn.Close()
		}
	}
	p.wg.Wait()
}
