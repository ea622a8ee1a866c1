package raftlog

import (
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// StreamLayer gives the group its connections to other nodes. Close makes Accept return an error;
// connections already handed out are closed by their user.
type StreamLayer interface {
	net.Listener
	// Dial connects to the raft side of the node at address.
	Dial(address string, timeout time.Duration) (net.Conn, error)
}

const (
	rpcTimeout   = 10 * time.Second
	maxIdleConns = 3 // per peer
)

// transport is the engine's, without the heartbeat fast path: handling heartbeats beside the main
// loop races with it.
type transport struct {
	*raft.NetworkTransport
	streams *streams
	moved   *moved
	sieve   *sieve
	sifted  chan raft.RPC
	closed  chan struct{} // closed by cut
	once    sync.Once

	contacts *contacts
	handOver time.Duration // how long a voter may take to stand for election when it is asked to
}

func newTransport(layer StreamLayer, advertise string, moved *moved, logger hclog.Logger, sieve *sieve,
	handOver time.Duration) *transport {
	s := &streams{layer: layer, addr: address(advertise), conns: make(map[*trackedConn]struct{})}
	t := &transport{
		streams: s, moved: moved, sieve: sieve, sifted: make(chan raft.RPC), closed: make(chan struct{}),
		contacts: newContacts(), handOver: handOver,
		NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Logger: logger, Stream: s, MaxPool: maxIdleConns, Timeout: rpcTimeout,
		}),
	}
	go t.sift()
	return t
}

// Consumer is where the engine takes from what peers ask.
func (t *transport) Consumer() <-chan raft.RPC { return t.sifted }

// sift passes on to the engine what the sieve lets through, until cut. Who asked waits for an answer or for cut.
func (t *transport) sift() {
	asked := t.NetworkTransport.Consumer()
	for {
		select {
		case rpc := <-asked:
			if t.sieve.refuse(rpc) {
				continue
			}
			select {
			case t.sifted <- rpc:
			case <-t.closed:
				return
			}
		case <-t.closed:
			return
		}
	}
}

// SetHeartbeatHandler does nothing, so that heartbeats go through the main loop like all else.
func (t *transport) SetHeartbeatHandler(func(raft.RPC)) {}

// RequestVote asks nobody while this node abstains.
func (t *transport) RequestVote(id raft.ServerID, to raft.ServerAddress, args *raft.RequestVoteRequest,
	resp *raft.RequestVoteResponse) error {
	if t.sieve.abstains() {
		return errAbstains
	}
	return t.NetworkTransport.RequestVote(id, t.moved.target(id, to), args, resp)
}

// RequestPreVote asks nobody while this node abstains.
func (t *transport) RequestPreVote(id raft.ServerID, to raft.ServerAddress, args *raft.RequestPreVoteRequest,
	resp *raft.RequestPreVoteResponse) error {
	if t.sieve.abstains() {
		return errAbstains
	}
	return t.NetworkTransport.RequestPreVote(id, t.moved.target(id, to), args, resp)
}

// cut closes every connection and lets no new one come about. After it nothing leaves this node.
func (t *transport) cut() {
	t.once.Do(func() { close(t.closed) })
	_ = t.Close() // never fails; closes streams too
	_ = t.streams.Close()
}

// mute closes what this node has dialed and keeps it from dialing, or lets it dial again. Others still reach it.
func (t *transport) mute(muted bool) { t.streams.mute(muted) }

// address is what other nodes know this one by, which may differ from where it listens.
type address string

func (a address) Network() string { return "raft" }
func (a address) String() string  { return string(a) }

// streams adapts a StreamLayer and keeps track of connections: the engine leaves those that it has
// accepted open when it closes.
type streams struct {
	layer StreamLayer
	addr  address
	away  func() bool // nothing may leave this node while it is true

	mu     sync.Mutex
	closed bool                      // under mu
	muted  bool                      // under mu; see transport.mute
	conns  map[*trackedConn]struct{} // under mu
}

func (s *streams) Addr() net.Addr { return s.addr }

func (s *streams) Accept() (net.Conn, error) {
	c, err := s.layer.Accept()
	if err != nil {
		return nil, err
	}
	return s.track(c, false)
}

func (s *streams) Dial(a raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	s.mu.Lock()
	closed, muted := s.closed, s.muted
	s.mu.Unlock()
	switch {
	case closed:
		return nil, net.ErrClosed
	case muted:
		return nil, errHangs
	case s.away():
		return nil, errAway
	}
	c, err := s.layer.Dial(string(a), timeout)
	if err != nil {
		return nil, err
	}
	return s.track(c, true)
}

func (s *streams) track(c net.Conn, dialed bool) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		_ = c.Close()
		return nil, net.ErrClosed
	case s.muted && dialed:
		_ = c.Close()
		return nil, errHangs
	}
	t := &trackedConn{Conn: c, of: s, dialed: dialed}
	s.conns[t] = struct{}{}
	return t, nil
}

// Close closes the layer and every connection.
func (s *streams) Close() error {
	s.mu.Lock()
	conns, again := s.conns, s.closed
	s.closed, s.conns = true, nil
	s.mu.Unlock()
	if again {
		return nil
	}
	for c := range conns {
		_ = c.Conn.Close()
	}
	return s.layer.Close()
}

func (s *streams) mute(muted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.muted = muted
	for c := range s.conns {
		if muted && c.dialed {
			_ = c.Conn.Close() // its user finds out, and closes c
		}
	}
}
