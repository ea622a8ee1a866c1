package connlimit

import (
	"fmt"
	"net"
	"testing"
)

// fakeConn is a connection from an address, of which only that and Close count.
type fakeConn struct {
	net.Conn
	from   string
	closed bool
}

func (c *fakeConn) RemoteAddr() net.Addr { return fakeAddr(c.from) }
func (c *fakeConn) Close() error         { c.closed = true; return nil }

type fakeAddr string

func (a fakeAddr) Network() string { return "tcp" }
func (a fakeAddr) String() string  { return string(a) }

// One address cannot take all connections, all cannot take more than there are, and what is closed
// makes room.
func TestConnectionCaps(t *testing.T) {
	l := New(Options{})
	var all []*fakeConn
	come := func(ip string) bool {
		nc := &fakeConn{from: fmt.Sprintf("%s:%d", ip, len(all))}
		all = append(all, nc)
		taken := l.Add(nc)
		if taken == nc.closed {
			t.Fatalf("taken %t, closed %t", taken, nc.closed)
		}
		l.Greeted(nc, "")
		return taken
	}
	for i := range MaxConnsPerAddr {
		if !come("10.0.0.1") {
			t.Fatalf("number %d from one address is refused", i)
		}
	}
	if come("10.0.0.1") {
		t.Errorf("more than %d from one address", MaxConnsPerAddr)
	}
	if !come("10.0.0.2") {
		t.Error("another address is refused")
	}
	l.Remove(all[0])
	l.Remove(all[0])
	if !come("10.0.0.1") || come("10.0.0.1") {
		t.Error("one that ended makes room for one")
	}
	for i := len(l.conns); i < MaxConns; i++ {
		if !come(fmt.Sprintf("10.1.%d.%d", i/200, i%200)) {
			t.Fatalf("refused with %d connections", i)
		}
	}
	if come("10.0.0.3") {
		t.Errorf("more than %d connections", MaxConns)
	}
}

// Who says nothing is closed for who comes later, from the same address if there are many of it, and who
// has said who it is stays.
func TestHalfOpenCaps(t *testing.T) {
	c := New(Options{})
	var all []*fakeConn
	come := func(ip string) *fakeConn {
		nc := &fakeConn{from: fmt.Sprintf("%s:%d", ip, len(all))}
		all = append(all, nc)
		if !c.Add(nc) {
			t.Fatalf("number %d is refused", len(all))
		}
		return nc
	}
	closed := func() (n int) {
		for _, nc := range all {
			if nc.closed {
				n++
			}
		}
		return n
	}
	honest := come("10.0.0.1")
	if !c.Greeted(honest, "") {
		t.Fatal("not counted")
	}
	for range MaxHalfOpenPerAddr {
		come("10.0.0.1")
	}
	if closed() != 0 {
		t.Fatalf("%d closed of as many half-open ones as may be", closed())
	}
	come("10.0.0.1")
	if !all[1].closed || closed() != 1 || c.Greeted(all[1], "") {
		t.Errorf("one more from the same address: %d closed, want the oldest of it that is half open", closed())
	}
	for i := 0; c.half.Len() < MaxHalfOpen; i++ {
		come(fmt.Sprintf("10.0.1.%d", i))
	}
	come("10.0.0.9")
	if !all[2].closed || closed() != 2 || honest.closed {
		t.Errorf("one more than all may be: %d closed, want the oldest of all that is half open", closed())
	}
	for _, nc := range all {
		c.Remove(nc)
	}
	if n, half := c.Count(); n != 0 || half != 0 || len(c.from) != 0 {
		t.Errorf("%d connections left, %d half open, from %v", n, half, c.from)
	}
}
