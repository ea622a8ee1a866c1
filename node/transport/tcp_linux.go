package transport

import (
	"net"
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT, which package syscall has no name for.
const tcpUserTimeout = 18

// limitUnacked ends a connection whose bytes are not acknowledged for so long.
func limitUnacked(nc *net.TCPConn, d time.Duration) {
	raw, err := nc.SyscallConn()
	if err != nil {
		return // closed already
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(d.Milliseconds()))
	})
}
