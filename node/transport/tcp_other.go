//go:build !linux

package transport

import (
	"net"
	"time"
)

// limitUnacked is Linux's to do. Elsewhere the pings of frames, and raft's own deadlines, find it out.
func limitUnacked(*net.TCPConn, time.Duration) {}
