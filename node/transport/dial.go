package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/datanode/datanode/wire"
)

// plainFor is how long a node that hung up on a stream in records is taken for one of an older build.
const plainFor = time.Minute

// plainAddrs are the addresses of nodes of older builds. The zero value is ready to use.
type plainAddrs struct {
	mu    sync.Mutex
	until map[string]time.Time // Guarded by mu. As many as the group has members.
}

func (p *plainAddrs) is(addr string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return now.Before(p.until[addr])
}

func (p *plainAddrs) note(addr string, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until == nil {
		p.until = make(map[string]time.Time)
	}
	p.until[addr] = until
}

// Dial opens a raft stream to a node: over TLS where there is a certificate, else in records with checksums if the
// node knows them.
func (l *listener) Dial(addr string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if now := time.Now(); l.secure == nil && !l.plain.is(addr, now) {
		nc, err := l.dialKind(ctx, addr, wire.PreambleSummed)
		if err == nil || !hungUp(err) || l.o.Proven(addr) {
			return nc, err
		}
		l.plain.note(addr, now.Add(plainFor))
	}
	return l.dialKind(ctx, addr, wire.PreambleRaft)
}

// hungUp reports whether the peer has closed a connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func (l *listener) dialKind(ctx context.Context, addr string, kind byte) (net.Conn, error) {
	nc, err := l.dialStream(ctx, addr)
	if err != nil {
		return nil, err
	}
	if err := greetStream(ctx, nc, kind, l.o.Hello()); err != nil {
		nc.Close()
		return nil, err
	}
	return l.newStream(nc, openedStream{
		peer: l.where.nodeAt(addr), role: l.secure.role(), direction: DirectionOut, kind: kind, at: addr,
	}), nil
}

func (l *listener) dialStream(ctx context.Context, addr string) (net.Conn, error) {
	nc, err := l.o.Dial(ctx, addr)
	if err != nil || l.secure == nil {
		return nc, err
	}
	return l.secure.dialStream(ctx, nc, addr)
}

// greetStream sends the hello of a stream. Where one is answered it waits for that.
func greetStream(ctx context.Context, nc net.Conn, kind byte, h Hello) error {
	if kind == wire.PreambleRaft {
		return writeStreamHello(nc, h)
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := nc.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err := nc.Write(appendSummedHello(nil, h)); err != nil {
		return err
	}
	got, err := readByte(nc)
	if err == nil && got != kind {
		err = fmt.Errorf("a raft stream is answered with %#x, want %#x", got, kind)
	}
	if err != nil {
		return err
	}
	return nc.SetDeadline(time.Time{})
}

// checkStream reads the hello of a raft stream, judges it and answers it.
func (l *listener) checkStream(nc net.Conn, who Caller, kind byte) (theirs Hello, err error) {
	if kind == wire.PreambleSummed {
		theirs, err = readSummedHello(nc)
	} else {
		theirs, err = readStreamHello(nc)
	}
	if err == nil {
		err = l.judgeStream(theirs, who)
	}
	if err == nil && kind == wire.PreambleSummed {
		_, err = nc.Write([]byte{wire.PreambleSummed})
	}
	return theirs, err
}
