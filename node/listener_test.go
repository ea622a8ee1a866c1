package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datanode/datanode/pki"
	"github.com/datanode/datanode/raftlog"
	"github.com/datanode/datanode/raftlog/state"
	"github.com/datanode/datanode/wire"
)

// dialFromElsewhere dials from an address that hardly any other connection has, if the system has as many: a
// node makes an address wait whose connections end too often for what they did.
func dialFromElsewhere(ctx context.Context, addr string) (net.Conn, error) {
	n := rand.Uint32()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, byte(n>>16)|0x40, byte(n>>8), byte(n)|1)}}
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil && ctx.Err() == nil { // a system with one loopback address
		return dialTCP(ctx, addr)
	}
	return nc, err
}

// loneListener is a listener of TLS without a node behind it, with a short deadline.
func loneListener(t *testing.T, secure bool) *listener {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newListener(inner, 50*time.Millisecond)
	l.logger = slog.New(slog.DiscardHandler)
	l.frames = func(a arrival) { _, _ = io.Copy(io.Discard, a) }
	l.hello = func() streamHello { return streamHello{} }
	l.blank = func() bool { return false }
	l.pause = func(time.Duration) <-chan struct{} { return nil }
	if secure {
		o := newOffice(t, "cell")
		l.secure = &security{source: o.source(pki.RoleNode, "n1"), ctx: t.Context, logger: l.logger}
	}
	l.run()
	t.Cleanup(func() { l.Close(); l.wait() })
	return l
}

// Who does not say in time who they are is hung up on, however little they have sent.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		secure bool
		send   []byte
	}{
		"nothing":                 {true, nil},
		"first byte of TLS":       {true, []byte{wire.PreambleTLS}},
		"half a client's hello":   {true, []byte{wire.PreambleTLS, 3, 1, 2, 0, 1}},
		"nothing, plaintext":      {false, nil},
		"half a raft hello":       {false, []byte{wire.PreambleRaft, 200, 'c'}},
		"raft hello without node": {false, []byte{wire.PreambleRaft, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			l := loneListener(t, c.secure)
			nc := knock(t, l, c.send)
			if err := nc.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, nc); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("the connection stays open")
			}
		})
	}
}

// knock connects to a listener and sends something.
func knock(t *testing.T, l *listener, send []byte) *net.TCPConn {
	t.Helper()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	if _, err := nc.Write(send); err != nil {
		t.Fatal(err)
	}
	return nc.(*net.TCPConn)
}

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
	l := newCensus()
	var all []*fakeConn
	come := func(ip string) bool {
		nc := &fakeConn{from: fmt.Sprintf("%s:%d", ip, len(all))}
		all = append(all, nc)
		taken := l.add(nc)
		if taken == nc.closed {
			t.Fatalf("taken %t, closed %t", taken, nc.closed)
		}
		l.greeted(nc, "")
		return taken
	}
	for i := range maxConnsPerAddr {
		if !come("10.0.0.1") {
			t.Fatalf("number %d from one address is refused", i)
		}
	}
	if come("10.0.0.1") {
		t.Errorf("more than %d from one address", maxConnsPerAddr)
	}
	if !come("10.0.0.2") {
		t.Error("another address is refused")
	}
	l.remove(all[0])
	l.remove(all[0])
	if !come("10.0.0.1") || come("10.0.0.1") {
		t.Error("one that ended makes room for one")
	}
	for i := len(l.conns); i < maxConns; i++ {
		if !come(fmt.Sprintf("10.1.%d.%d", i/200, i%200)) {
			t.Fatalf("refused with %d connections", i)
		}
	}
	if come("10.0.0.3") {
		t.Errorf("more than %d connections", maxConns)
	}
}

// Accepted raft streams are counted until they are closed.
func TestRaftStreamsAreCounted(t *testing.T) {
	t.Parallel()
	l := loneListener(t, false)
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := writeStreamHello(nc, streamHello{node: "n1"}); err != nil {
		t.Fatal(err)
	}
	stream, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	count := func() int { all, _ := l.census.count(); return all }
	if count() != 1 {
		t.Errorf("%d connections with an open stream, want 1", count())
	}
	stream.Close()
	if count() != 0 {
		t.Errorf("%d connections after it is closed, want 0", count())
	}
}

// A node that leaves the group loses the raft streams that it has opened, and the others keep theirs.
func TestStreamsOfWhoLeaves(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newListener(inner, patience)
	l.logger = slog.New(slog.DiscardHandler)
	l.hello = func() streamHello { return streamHello{} }
	var members atomic.Value // []string; empty: not known
	members.Store([]string{"n1", "n2", "n3"})
	o := newOffice(t, "cell")
	l.secure = &security{source: o.source(pki.RoleNode, "n1"), ctx: t.Context, logger: l.logger, members: func() ([]raftlog.ServerInfo, error) {
		var servers []raftlog.ServerInfo
		for _, id := range members.Load().([]string) {
			servers = append(servers, raftlog.ServerInfo{Server: raftlog.Server{ID: state.NodeID(id)}})
		}
		if servers == nil {
			return nil, errors.New("the log is not open")
		}
		return servers, nil
	}}
	judge := make(chan struct{})
	l.pause = func(time.Duration) <-chan struct{} { return judge }
	l.run()
	t.Cleanup(func() { l.Close(); l.wait() })

	open := func(node string) {
		tc, _, err := o.source(pki.RoleNode, node).Client(t.Context(), knock(t, l, nil), l.Addr().String(), pki.ProtocolRaft)
		if err != nil {
			t.Fatal(err)
		}
		if err := writeStreamHello(tc, streamHello{node: node}); err != nil {
			t.Fatal(err)
		}
		stream, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { stream.Close() })
	}
	open("n2")
	open("n3")
	are := func(when string, want ...string) {
		t.Helper()
		judge <- struct{}{} // once it is taken the round before is over
		judge <- struct{}{}
		var got []string
		for _, c := range l.streams.all() {
			got = append(got, c.who.Name)
		}
		slices.Sort(got)
		if all, _ := l.census.count(); !slices.Equal(got, want) || all != len(want) {
			t.Errorf("%s: streams of %v, %d connections, want of %v", when, got, all, want)
		}
	}
	are("at first", "n2", "n3")
	members.Store([]string(nil))
	are("while it is not known who is a member", "n2", "n3")
	members.Store([]string{"n1", "n3"})
	are("once n2 has left", "n3")
	l.secure.vouch([]string{"n3"})
	members.Store([]string{"n1"})
	are("when the cell vouches for n3", "n3")
}

// Who says nothing is closed for who comes later, from the same address if there are many of it, and who
// has said who it is stays.
func TestHalfOpenCaps(t *testing.T) {
	c := newCensus()
	var all []*fakeConn
	come := func(ip string) *fakeConn {
		nc := &fakeConn{from: fmt.Sprintf("%s:%d", ip, len(all))}
		all = append(all, nc)
		if !c.add(nc) {
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
	if !c.greeted(honest, "") {
		t.Fatal("not counted")
	}
	for range maxHalfOpenPerAddr {
		come("10.0.0.1")
	}
	if closed() != 0 {
		t.Fatalf("%d closed of as many half-open ones as may be", closed())
	}
	come("10.0.0.1")
	if !all[1].closed || closed() != 1 || c.greeted(all[1], "") {
		t.Errorf("one more from the same address: %d closed, want the oldest of it that is half open", closed())
	}
	for i := 0; c.half.Len() < maxHalfOpen; i++ {
		come(fmt.Sprintf("10.0.1.%d", i))
	}
	come("10.0.0.9")
	if !all[2].closed || closed() != 2 || honest.closed {
		t.Errorf("one more than all may be: %d closed, want the oldest of all that is half open", closed())
	}
	for _, nc := range all {
		c.remove(nc)
	}
	if n, half := c.count(); n != 0 || half != 0 || len(c.from) != 0 {
		t.Errorf("%d connections left, %d half open, from %v", n, half, c.from)
	}
}
