// Package client is the Go client of a cell: what the command line, tests and other programs use. A
// Client is given the addresses of some nodes and hides which of them answers.
//
// A call goes to the node that answered last. When that node says that it cannot serve now, or the
// connection breaks, the next address is tried, and after each round of all addresses there is a
// pause that grows up to a bound. A failure is retried only where that is safe: when the work was not
// done, or when the call only reads, or when it is idempotent. Submissions are: the client opens a
// session in the cell and numbers them, and the cell runs the same number once. A put that is made twice stores its
// bytes twice, and only one of the two is ever named: see Put.
//
// Every error of the cell is, or wraps, a *wire.Error. A cell that cannot be reached is
// CodeUnavailable with a text that names each address and what it said.
//
// # Concurrency
//
// A Client's methods may be called from any goroutine. It keeps one multiplexed connection for each
// address, opened when first needed, and no goroutine of its own besides those of the connections.
// Close ends them all.
package client

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// DefaultAddr is where a node listens unless its configuration says otherwise.
const DefaultAddr = "127.0.0.1:7400"

const (
	defaultDialTimeout = 3 * time.Second
	defaultConnectFor  = 2 * time.Second
	defaultRetryFor    = 20 * time.Second
	defaultName        = "client"

	firstPause   = 25 * time.Millisecond // after the first round of all addresses; doubles
	longestPause = time.Second
)

// ErrClosed is why a call on a closed Client fails.
var ErrClosed = errors.New("the client has been closed")

// Options of a Client. The zero value is one of a cell on this machine.
type Options struct {
	// Addrs are HOST:PORT of nodes, tried in this order. One is enough, several survive its loss.
	// Empty: DefaultAddr.
	Addrs []string
	// Dial opens a connection; nil: TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// TLS is the client's certificate; nil: plaintext.
	TLS *pki.Source
	// Name is what the client calls its session in the cell; empty: "client".
	Name   string
	Logger *slog.Logger // nil: none
	Clock  mux.Clock    // the zero value is real time

	// DialTimeout bounds the opening of one connection. 0: 3 s.
	DialTimeout time.Duration
	// ConnectFor is how long a call goes on trying while no address can be connected to. 0: 2 s.
	ConnectFor time.Duration
	// RetryFor is how long after its first failure a call goes on trying while nodes answer that they cannot serve,
	// as when the cell elects a leader. 0: 20 s. The end of a call's context ends it earlier.
	RetryFor time.Duration
	// Waiting is called with what a call waits for, when it has gone unanswered for 2 s and every 2 s from then on, and an
	// empty text when that is over. It must not call the client. nil: nothing is said.
	Waiting func(what string)
}

func (o Options) withDefaults() Options {
	if len(o.Addrs) == 0 {
		o.Addrs = []string{DefaultAddr}
	}
	if o.Dial == nil {
		var d net.Dialer
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
	}
	if o.Name == "" {
		o.Name = defaultName
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock.Now == nil {
		o.Clock.Now = time.Now
	}
	if o.Clock.AfterFunc == nil {
		o.Clock.AfterFunc = func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
	}
	if o.DialTimeout == 0 {
		o.DialTimeout = defaultDialTimeout
	}
	if o.ConnectFor == 0 {
		o.ConnectFor = defaultConnectFor
	}
	if o.RetryFor == 0 {
		o.RetryFor = defaultRetryFor
	}
	return o
}

// Client is a client of one cell.
type Client struct {
	opts  Options
	conns pool

	preferred atomic.Int32 // index into addrs() of the address that answered last
	learned   atomic.Pointer[[]string]
	seen      atomic.Uint64 // highest log index that this client has seen in an answer

	// submitting is held by the one Submit that is under way: the cell keeps the answers of a
	// session's newest requests, so their numbers should arrive in about their order.
	submitting chan struct{}
	session    Session
	punching   chan struct{} // holds one for each Delete under way

	closing sync.Once
	closed  chan struct{}
}

// New makes a client. It connects when it is first used.
func New(o Options) *Client {
	o = o.withDefaults()
	return &Client{
		opts:       o,
		conns:      newPool(o),
		submitting: make(chan struct{}, 1),
		punching:   make(chan struct{}, punchesInFlight),
		closed:     make(chan struct{}),
	}
}

// Close ends the client's connections, and with them the calls that run.
func (c *Client) Close() error {
	c.closing.Do(func() { close(c.closed) })
	return c.conns.close()
}

// Learn asks the cell for the addresses of its nodes, which calls then go to when those that this client was
// given do not serve them. Once is enough. Each address is asked once: it is not worth waiting for.
func (c *Client) Learn(ctx context.Context) error {
	var nodes []wire.Node
	var err error
	for _, addr := range c.opts.Addrs {
		err = c.attempt(ctx, addr, func(conn *mux.Conn) error {
			answer, err := conn.Call(ctx, c.request(wire.OpNodes, route{}, nil))
			if err != nil {
				return err
			}
			var reply wire.NodesReply
			err = decode(wire.OpNodes, answer, &reply)
			nodes = reply.Nodes
			return err
		})
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return err
	}
	var more []string
	for _, n := range nodes {
		if _, _, err := net.SplitHostPort(n.Addr); err != nil || n.State != "up" || n.Mode != "active" ||
			slices.Contains(c.opts.Addrs, n.Addr) {
			continue
		}
		more = append(more, n.Addr)
	}
	c.learned.CompareAndSwap(nil, &more) // once only: preferred is an index
	return nil
}

// addrs are the addresses that a call may go to: those given, then those learned.
func (c *Client) addrs() []string {
	if more := c.learned.Load(); more != nil {
		return slices.Concat(c.opts.Addrs, *more)
	}
	return c.opts.Addrs
}

// sawIndex remembers a log index, so that what this client asks later is answered by a node that
// has applied it: a client finds what it has just submitted, whichever node it asks.
func (c *Client) sawIndex(index uint64) {
	for {
		have := c.seen.Load()
		if index <= have || c.seen.CompareAndSwap(have, index) {
			return
		}
	}
}
