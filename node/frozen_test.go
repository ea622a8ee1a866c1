package node

import (
	"context"
	"net"
	"sync"

	"github.com/datanode/datanode/node/transport"
)

// frost stops the traffic of one node, as if its process were stopped: its connections stay open, new ones are
// accepted, nothing arrives and nothing leaves. Nobody gets an error.
type frost struct {
	mu   sync.Mutex
	node string        // Guarded by mu. Whose traffic stands still; empty: nobody's.
	thaw chan struct{} // Guarded by mu. Closed when it goes on.
}

func newFrost() *frost { return &frost{thaw: make(chan struct{})} }

func (f *frost) freeze(node string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.node, f.thaw = node, make(chan struct{})
}

func (f *frost) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.node != "" {
		close(f.thaw)
	}
	f.node = ""
}

// wrap makes a node feel the frost: those that it dials and those that dial it.
func (f *frost) wrap(cfg *Config) {
	id := cfg.ID
	cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
		nc, err := transport.DialTCP(ctx, addr)
		if err != nil {
			return nil, err
		}
		return newColdConn(nc, f, id), nil
	}
	cfg.Listener = &coldListener{cfg.Listener, f, id}
}

type coldListener struct {
	net.Listener
	frost *frost
	node  string
}

func (l *coldListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newColdConn(nc, l.frost, l.node), nil
}

type coldConn struct {
	net.Conn
	frost  *frost
	node   string
	once   sync.Once
	closed chan struct{}
}

func newColdConn(nc net.Conn, f *frost, node string) *coldConn {
	return &coldConn{Conn: nc, frost: f, node: node, closed: make(chan struct{})}
}

func (c *coldConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func (c *coldConn) wait() {
	for {
		c.frost.mu.Lock()
		frozen, thaw := c.frost.node == c.node, c.frost.thaw
		c.frost.mu.Unlock()
		if !frozen {
			return
		}
		select {
		case <-thaw:
		case <-c.closed:
			return
		}
	}
}

// Read takes what has come and keeps it back while the frost lasts.
func (c *coldConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.wait()
	return n, err
}

func (c *coldConn) Write(p []byte) (int, error) {
	c.wait()
	return c.Conn.Write(p)
}
