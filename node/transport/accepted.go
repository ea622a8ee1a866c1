package transport

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/datanode/datanode/node/transport/connlimit"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// accepted are the connections that this node has accepted.
type accepted struct {
	mu     sync.Mutex
	closed bool               // Guarded by mu.
	conns  map[*mux.Conn]bool // Guarded by mu.
}

func newAccepted() *accepted { return &accepted{conns: map[*mux.Conn]bool{}} }

func (a *accepted) add(c *mux.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conns[c] = true
	if a.closed {
		go c.Close()
	}
}

func (a *accepted) remove(c *mux.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.conns, c)
}

func (a *accepted) all() []*mux.Conn {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Keys(a.conns))
}

// drain lets the calls of every connection end.
func (a *accepted) drain(ctx context.Context) error {
	conns := a.all()
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

func (a *accepted) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	var wg sync.WaitGroup
	for _, c := range a.all() {
		wg.Add(1)
		go func() { // at once: each waits for its handlers
			defer wg.Done()
			c.Close()
		}()
	}
	wg.Wait()
}

// serveConn serves one accepted connection until it ends.
func (t *Transport) serveConn(a arrival) {
	serve := func(ctx context.Context, c *mux.ServerCall) { t.o.Serve(ctx, c, a.who) }
	conn, err := mux.Server(t.ctx, a.Conn, mux.Config{
		Hello: t.o.Hello().frames(), Handler: mux.HandlerFunc(serve), Logger: t.o.Logger, Clock: t.o.Clock,
		OnMismatch: t.countMismatch,
		Identity:   string(a.who.ID()), Share: a.share, MaxInFlight: maxCallsPerConn, Silence: t.o.Silence,
	})
	if err == nil && !a.greeted(conn.Peer().Node) {
		conn.Close()
		return
	}
	if err == nil {
		if err = a.who.mayClaim(conn.Peer().Node); err != nil {
			t.denied.Note(deniedHello, a.who.Describe(conn.Peer().Node), err)
			conn.Close()
		}
	}
	if err != nil {
		a.ended(err)
		t.o.Logger.Info("connection refused", "remote", a.RemoteAddr().String(), "error", err)
		return
	}
	t.accepted.add(conn)
	defer t.accepted.remove(conn)
	peer := cmp.Or(conn.Peer().Node, a.who.Name, "client")
	defer t.table.add(conn, Connection{
		Peer: peer, Role: a.who.Role, Direction: DirectionIn, Protocol: ProtocolFrames,
		cert: certOf(a.Conn), end: t.expel(conn),
	})()
	<-conn.Done()
	a.ended(conn.Err())
	conn.Close()
}

// ended notes an offence of the peer's machine if the connection has ended, or not begun, for what the peer did.
// What is done with a node's certificate is not: whoever has that could do worse, and the others need the node.
func (a *arrival) ended(err error) {
	var mismatch *mux.Mismatch
	switch {
	case a.who.provenNode():
	case errors.As(err, &mismatch):
		a.offended(connlimit.OffenceMismatch)
	case mux.AtFault(err):
		a.offended(connlimit.OffenceFrame)
	case wire.CodeOf(err) == wire.CodeDeadline:
		a.offended(connlimit.OffenceSilent)
	}
}
