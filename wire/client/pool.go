package client

import (
	"context"
	"maps"
	"net"
	"slices"
	"sync"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// pool keeps one connection for each address.
type pool struct {
	opts Options

	mu     *sync.Mutex
	closed bool             // guarded by mu
	slots  map[string]*slot // guarded by mu
}

// slot is the connection to one address.
type slot struct {
	// turn is held while conn is looked at or opened, so that callers who need the same address
	// wait for one dial instead of each doing their own.
	turn chan struct{}
	conn *mux.Conn // guarded by turn; nil before the first

	giveUp context.CancelFunc // guarded by pool.mu; ends the dial that is under way, if any
}

func newPool(o Options) pool {
	return pool{opts: o, mu: new(sync.Mutex), slots: map[string]*slot{}}
}

// get is the connection to addr, opened if need be. An error says that nothing was sent.
func (p *pool) get(ctx context.Context, addr string) (*mux.Conn, error) {
	s, err := p.slot(addr)
	if err != nil {
		return nil, err
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-s.turn }()
	if s.conn != nil {
		select {
		case <-s.conn.Done():
			_ = s.conn.Close() // only waits for its goroutines; it has ended
			s.conn = nil
		default:
			return s.conn, nil
		}
	}
	conn, err := p.open(ctx, s, addr)
	if err != nil {
		return nil, err
	}
	s.conn = conn
	return conn, nil
}

func (p *pool) slot(addr string) (*slot, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	s := p.slots[addr]
	if s == nil {
		s = &slot{turn: make(chan struct{}, 1)}
		p.slots[addr] = s
	}
	return s, nil
}

// dialing remembers how to end a dial, or says that the pool is closed.
func (p *pool) dialing(s *slot, giveUp context.CancelFunc) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	s.giveUp = giveUp
	return nil
}

// open dials addr and greets what is there. The caller has the slot's turn.
func (p *pool) open(ctx context.Context, s *slot, addr string) (*mux.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.opts.DialTimeout, slowDial{p.opts.DialTimeout})
	defer cancel()
	if err := p.dialing(s, cancel); err != nil {
		return nil, err
	}
	nc, err := p.dial(ctx, addr)
	if err != nil {
		return nil, p.dialError(ctx, err)
	}
	conn, err := mux.Client(ctx, nc, mux.Config{Logger: p.opts.Logger, Clock: p.opts.Clock,
		Hello: wire.Hello{Features: wire.FeatureReadInline}})
	if err != nil {
		return nil, p.dialError(ctx, err)
	}
	return conn, nil
}

func (p *pool) dial(ctx context.Context, addr string) (net.Conn, error) {
	nc, err := p.opts.Dial(ctx, addr)
	if err != nil || p.opts.TLS == nil {
		return nc, err
	}
	tc, _, err := p.opts.TLS.Client(ctx, nc, addr, pki.ProtocolFrames)
	if err != nil {
		return nil, err // not tc: nil in an interface is something
	}
	return tc, nil
}

// dialError prefers the reason why the context ended to what the dial made of it.
func (p *pool) dialError(ctx context.Context, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// close ends all connections, and the dials that are under way.
func (p *pool) close() error {
	p.mu.Lock()
	p.closed = true
	slots := slices.Collect(maps.Values(p.slots))
	for _, s := range slots {
		if s.giveUp != nil {
			s.giveUp()
		}
	}
	p.mu.Unlock()
	for _, s := range slots {
		s.turn <- struct{}{}
		if s.conn != nil {
			_ = s.conn.Close() // it only ever says nil
		}
		<-s.turn
	}
	return nil
}
