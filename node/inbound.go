package node

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// inbound are the connections that this node has accepted.
type inbound struct {
	mu     sync.Mutex
	closed bool               // Guarded by mu.
	conns  map[*mux.Conn]bool // Guarded by mu.
}

func newInbound() *inbound { return &inbound{conns: map[*mux.Conn]bool{}} }

func (in *inbound) add(c *mux.Conn) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.conns[c] = true
	if in.closed {
		go c.Close()
	}
}

func (in *inbound) remove(c *mux.Conn) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.conns, c)
}

func (in *inbound) all() []*mux.Conn {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Collect(maps.Keys(in.conns))
}

// drain lets the calls of every connection end.
func (in *inbound) drain(ctx context.Context) error {
	conns := in.all()
	errs := make([]error, len(conns))
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Add(1)
		go func() {
			defer wg.Done()
			errs[i] = c.Drain(ctx)
		}()
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (in *inbound) close() {
	in.mu.Lock()
	in.closed = true
	in.mu.Unlock()
	var wg sync.WaitGroup
	for _, c := range in.all() {
		wg.Add(1)
		go func() { // at once: each waits for its handlers
			defer wg.Done()
			c.Close()
		}()
	}
	wg.Wait()
}

// serveConn serves one accepted connection until it ends.
func (n *Node) serveConn(a arrival) {
	serve := func(ctx context.Context, c *mux.ServerCall) { n.serveCall(ctx, c, a.who) }
	conn, err := mux.Server(n.ctx, a.Conn, mux.Config{
		Hello: n.muxHello(), Handler: mux.HandlerFunc(serve), Logger: n.logger, Clock: n.cfg.Clock, OnMismatch: n.countMismatch,
		Identity: string(a.who.identity()), Share: a.share, MaxInFlight: maxCallsPerConn, Silence: n.time.silence,
	})
	if err == nil && !a.greeted(conn.Peer().Node) {
		conn.Close()
		return
	}
	if err == nil {
		if err = a.who.mayClaim(conn.Peer().Node); err != nil {
			n.denied.note(deniedHello, a.who.name(conn.Peer().Node), err)
			conn.Close()
		}
	}
	if err != nil {
		a.ended(err)
		n.logger.Info("connection refused", "remote", a.RemoteAddr().String(), "error", err)
		return
	}
	n.inbound.add(conn)
	defer n.inbound.remove(conn)
	peer := cmp.Or(conn.Peer().Node, a.who.Name, "client")
	defer n.stock.add(conn, connection{peer: peer, role: a.who.Role, direction: directionIn, protocol: protocolFrames,
		cert: certOf(a.Conn), end: n.expel(conn)})()
	<-conn.Done()
	a.ended(conn.Err())
	conn.Close()
}

// ended holds it against the peer's machine if the connection has ended, or not begun, for what the peer did.
// What is done with a node's certificate is not: whoever has that could do worse, and the others need the node.
func (a *arrival) ended(err error) {
	var mismatch *mux.Mismatch
	switch {
	case a.who.secure && a.who.Role == pki.RoleNode:
	case errors.As(err, &mismatch):
		a.offended(offenceMismatch)
	case mux.AtFault(err):
		a.offended(offenceFrame)
	case wire.CodeOf(err) == wire.CodeDeadline:
		a.offended(offenceSilent)
	}
}
