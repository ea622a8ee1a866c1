package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/datanode/datanode/wire"
)

// maxConns bounds the accepted connections. One more is closed at once.
const maxConns = 1024

// acceptPause is how long no connection is accepted after that has failed.
const acceptPause = 20 * time.Millisecond

// listener is the node's one listener. It reads the first byte of each connection and hands it to
// the frames' side or to raft's. It implements raftlog.StreamLayer.
type listener struct {
	net.Listener
	firstByte time.Duration
	hello     func() streamHello // of this node, as it is now
	dial      dialer
	pause     func(time.Duration) <-chan struct{}
	frames    func(nc net.Conn) // takes over a connection whose preamble byte was read
	raft      chan net.Conn     // accepted raft streams
	done      chan struct{}     // closed by Close
	closeOnce sync.Once
	wg        sync.WaitGroup
	mu        sync.Mutex
	conns     map[net.Conn]struct{} // Guarded by mu. Accepted, not yet handed on.
}

// streamHello opens a raft stream: who dials, of which cell. Raft's own messages name neither, and
// a node whose folder was replaced, or whose address another cell uses now, must not be listened to.
type streamHello struct{ cell, node string }

func newListener(l net.Listener, firstByte time.Duration) *listener {
	return &listener{
		Listener: l, firstByte: firstByte, raft: make(chan net.Conn), done: make(chan struct{}),
		conns: map[net.Conn]struct{}{},
	}
}

// run accepts until Close. The frames function must have been set.
func (l *listener) run() {
	l.wg.Add(1)
	go func() {
		defer l.wg.Done()
		for {
			nc, err := l.Listener.Accept()
			if err != nil {
				if errors.Is(err, net.ErrClosed) {
					return
				}
				select { // out of file descriptors, a peer that was gone already
				case <-l.pause(acceptPause):
				case <-l.done:
				}
				continue
			}
			if l.track(nc) {
				l.wg.Add(1)
				go l.sort(nc)
			}
		}
	}()
}

func (l *listener) track(nc net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.done:
		nc.Close()
		return false
	default:
	}
	if len(l.conns) >= maxConns {
		nc.Close()
		return false
	}
	l.conns[nc] = struct{}{}
	return true
}

// sort reads the first byte and hands the connection on. frames runs in this goroutine until the
// connection has ended.
func (l *listener) sort(nc net.Conn) {
	defer l.wg.Done()
	defer func() {
		l.mu.Lock()
		delete(l.conns, nc)
		l.mu.Unlock()
	}()
	first := make([]byte, 1)
	if err := nc.SetReadDeadline(time.Now().Add(l.firstByte)); err != nil {
		nc.Close()
		return
	}
	if _, err := io.ReadFull(nc, first); err != nil {
		nc.Close()
		return
	}
	switch first[0] {
	case wire.PreambleFrames:
		if nc.SetReadDeadline(time.Time{}) != nil {
			nc.Close()
			return
		}
		l.frames(nc)
	case wire.PreambleRaft:
		l.acceptRaft(nc)
	default:
		nc.Close()
	}
}

func (l *listener) acceptRaft(nc net.Conn) {
	theirs, err := readStreamHello(nc)
	mine := l.hello()
	if err != nil || (mine.cell != "" && theirs.cell != "" && mine.cell != theirs.cell) || nc.SetReadDeadline(time.Time{}) != nil {
		nc.Close()
		return
	}
	select {
	case l.raft <- nc:
	case <-l.done:
		nc.Close()
	}
}

// Accept waits for the next raft stream.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case nc := <-l.raft:
		return nc, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Dial opens a raft stream to a node.
func (l *listener) Dial(addr string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	nc, err := l.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	if err := writeStreamHello(nc, l.hello()); err != nil {
		nc.Close()
		return nil, err
	}
	return nc, nil
}

// Close stops accepting and closes the connections whose protocol is not known yet. It does not
// wait: raft calls it while it shuts down. See wait.
func (l *listener) Close() error {
	l.closeOnce.Do(func() {
		close(l.done)
		l.Listener.Close()
		l.mu.Lock()
		for nc := range l.conns {
			nc.Close()
		}
		l.mu.Unlock()
	})
	return nil
}

func (l *listener) wait() { l.wg.Wait() }

func writeStreamHello(nc net.Conn, h streamHello) error {
	buf := []byte{wire.PreambleRaft, byte(len(h.cell))}
	buf = append(buf, h.cell...)
	buf = append(buf, byte(len(h.node)))
	buf = append(buf, h.node...)
	_, err := nc.Write(buf)
	return err
}

func readStreamHello(nc net.Conn) (h streamHello, err error) {
	if h.cell, err = readShort(nc); err != nil {
		return h, err
	}
	h.node, err = readShort(nc)
	return h, err
}

func readShort(r io.Reader) (string, error) {
	var n [1]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return "", err
	}
	buf := make([]byte, n[0])
	_, err := io.ReadFull(r, buf)
	return string(buf), err
}

// listen opens the listener of cfg.
func listen(ctx context.Context, cfg Config) (net.Listener, error) {
	if cfg.Listener != nil {
		return cfg.Listener, nil
	}
	if !loopback(cfg.Listen) && !cfg.Insecure {
		return nil, fmt.Errorf("%s is not a loopback address and this build has no TLS yet: anyone who reaches it could read and delete data; listen on 127.0.0.1, or accept that with --insecure", cfg.Listen)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w; is another node running there? choose another --listen", cfg.Listen, err)
	}
	return l, nil
}
