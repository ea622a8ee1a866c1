package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// peers are the connections that this node has dialed, one to each address. A broken one is
// forgotten; the next call dials again. There is no pool: a connection carries all calls at once,
// and one that is in doubt is never used again.
type peers struct {
	config    func() mux.Config
	ctx       func() context.Context // ends when the node stops
	dialLimit time.Duration
	dialTo    dialer
	secure    *security // nil: plaintext
	stock     *stock

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

func newPeers(ctx func() context.Context, dialLimit time.Duration, dial dialer, config func() mux.Config) *peers {
	return &peers{ctx: ctx, config: config, dialLimit: dialLimit, dialTo: dial, byAddr: map[string]*peerConn{}, stock: newStock()}
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
	ctx, cancel := context.WithTimeout(p.ctx(), p.dialLimit)
	defer cancel()
	var cert *pki.Conn
	c.conn, cert, c.err = p.connect(ctx, addr)
	ended := func() {}
	if conn := c.conn; c.err == nil {
		ended = p.stock.add(conn, connection{peer: conn.Peer().Node, role: p.secure.role(), direction: directionOut, protocol: protocolFrames,
			cert: cert, end: func(why *wire.Error) { conn.Expel(p.ctx(), why) }})
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
	nc, err := p.dialTo(ctx, addr)
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
		return nil, nil, fmt.Errorf("%s: %w; a node hangs up on others without --tls-cert, --tls-key and --tls-ca when it speaks TLS only, and on more connections than it takes from one address", addr, err)
	}
	return nil, nil, fmt.Errorf("%s: %w", addr, err)
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

// toNode is a connection to a node of the cell.
func (n *Node) toNode(ctx context.Context, id state.NodeID) (*mux.Conn, error) {
	node := n.log.View().Node(id)
	if node == nil {
		return nil, wire.Errorf(0, wire.CodeNotFound, "there is no node %s", id)
	}
	return n.peers.conn(ctx, string(id), node.Addr)
}

// toLeader is a connection to the leader, which is another node.
func (n *Node) toLeader(ctx context.Context) (*mux.Conn, error) {
	id, addr := n.log.Leader()
	switch {
	case id == "" || addr == "":
		return nil, wire.Errorf(0, wire.CodeUnavailable, "the cell has no leader now; a majority of the voters must be up")
	case id == n.id:
		return nil, wire.Errorf(0, wire.CodeUnavailable, "%s has just become the leader; try again", id)
	}
	return n.peers.conn(ctx, string(id), addr)
}

// ask makes a call on conn, and decodes what comes back.
func ask[Reply any](ctx context.Context, conn *mux.Conn, op wire.OpType, body any) (reply Reply, err error) {
	return askIn[Reply](ctx, conn, op.SessionFor(body), op, body)
}

func askIn[Reply any](ctx context.Context, conn *mux.Conn, session wire.Session, op wire.OpType, body any) (reply Reply, err error) {
	answer, err := conn.Call(ctx, mux.Request{Op: op, Session: session, Body: body})
	if err != nil {
		return reply, err
	}
	err = answer.Decode(&reply)
	return reply, err
}

// askLeader asks the node that leads, another than this.
func askLeader[Reply any](ctx context.Context, n *Node, op wire.OpType, body any) (reply Reply, err error) {
	conn, err := n.toLeader(ctx)
	if err != nil {
		return reply, err
	}
	return ask[Reply](ctx, conn, op, body)
}
