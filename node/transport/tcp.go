package transport

import (
	"context"
	"net"
	"time"
)

// How soon the kernel finds out that a connection to another node no longer works both ways. Both are needed: bytes
// that are sent and not acknowledged end a connection after unackedLimit only, and one on which nothing is sent
// after the keep-alive probes only, which wait while bytes are on their way.
const (
	unackedLimit   = 5 * time.Second
	keepAliveIdle  = 2 * time.Second
	keepAliveEvery = time.Second
	keepAliveCount = 3
)

// watchLine makes the kernel end a connection to another node that no longer works. It is not for clients: those
// may stop for a while, and a reader that makes no room would be taken for one that is gone.
func watchLine(nc net.Conn) {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return // a simulation's, or a test's
	}
	// It works without, only slower, and the errors would say that the connection is closed already.
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{
		Enable: true, Idle: keepAliveIdle, Interval: keepAliveEvery, Count: keepAliveCount,
	})
	limitUnacked(tcp, unackedLimit)
}

// Dialer is how connections are made.
type Dialer = func(ctx context.Context, addr string) (net.Conn, error)

// DialTCP dials another node.
func DialTCP(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err == nil {
		watchLine(nc)
	}
	return nc, err
}
