package client

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datanode/datanode/wire"
	"github.com/datanode/datanode/wire/mux"
)

// oddity is something else than a node that listens.
type oddity struct {
	addr  string
	dials atomic.Int32
}

// odd listens until the test ends, and has each connection served.
func odd(t *testing.T, serve func(nc net.Conn)) *oddity {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &oddity{addr: l.Addr().String()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			o.dials.Add(1)
			serve(nc)
			nc.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return o
}

// young speaks later versions of the protocol only.
func young(nc net.Conn) {
	if _, err := io.ReadFull(nc, make([]byte, 1)); err != nil {
		return
	}
	if c, err := mux.Server(context.Background(), nc,
		mux.Config{Hello: wire.Hello{Node: "young", MinVersion: 2, MaxVersion: 3}}); err == nil {
		c.Close()
	}
}

// webServer answers as one does that is sent something else than HTTP.
func webServer(nc net.Conn) {
	if _, err := nc.Read(make([]byte, 100)); err == nil {
		_, _ = io.WriteString(nc, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 Bad Request")
		_, _ = io.Copy(io.Discard, nc)
	}
}

// hangsUp reads what it is sent, so that the end is no reset, and says nothing.
func hangsUp(nc net.Conn) { _, _ = nc.Read(make([]byte, 4096)) }

func resets(nc net.Conn) {
	_, _ = io.ReadFull(nc, make([]byte, 1))
	_ = nc.(*net.TCPConn).SetLinger(0)
}

func clientOf(t *testing.T, patience int, addrs ...string) *Client {
	c := newClient(t, patience)
	c.opts.Addrs = addrs
	return c
}

// What says that it is no node, or of another version, has answered: it is asked once.
func TestVerdictIsFinal(t *testing.T) {
	for name, test := range map[string]struct {
		serve func(net.Conn)
		want  string
	}{
		"version":    {young, `no common protocol version: peer "young" speaks 2 to 3, this side 1 to 1; upgrade this side`},
		"web server": {webServer, "what listens there is no datanode"},
	} {
		t.Run(name, func(t *testing.T) {
			o := odd(t, test.serve)
			c := clientOf(t, 5, o.addr)
			wait := c.opts.Clock.AfterFunc
			c.opts.Clock.AfterFunc = func(d time.Duration, f func()) func() bool {
				t.Errorf("it waits for %s", d)
				return wait(d, f)
			}
			_, err := c.Status(t.Context())
			if wire.CodeOf(err) != wire.CodeProtocol || !strings.Contains(err.Error(), o.addr+": "+test.want) {
				t.Errorf("%v, want the code protocol and %q", err, test.want)
			}
			if errors.As(err, new(*Unreachable)) {
				t.Error("it was reached")
			}
			if n := o.dials.Load(); n != 1 {
				t.Errorf("dialed %d times, want once", n)
			}
		})
	}
}

// A verdict at one address keeps nobody from asking at the others, for as long as ever.
func TestVerdictLeavesOthers(t *testing.T) {
	o := odd(t, young)
	n := newFakeCell().node(t, "n1")
	asked := 0
	n.set(func(ctx context.Context, c *mux.ServerCall) error {
		if asked++; asked < 3 {
			return unavailable(ctx, c)
		}
		return nil
	}, nil)
	if s, err := clientOf(t, 100, o.addr, n.addr()).Status(t.Context()); err != nil || s.Node != "n1" {
		t.Errorf("status of %q, %v", s.Node, err)
	}
	if n := o.dials.Load(); n != 1 {
		t.Errorf("the other was dialed %d times, want once", n)
	}
	n.kill()
	_, err := clientOf(t, 3, o.addr, n.addr()).Status(t.Context())
	if away := (*Unreachable)(nil); !errors.As(err, &away) || !away.Silent ||
		!strings.Contains(err.Error(), "upgrade this side") {
		t.Errorf("%v, want unreachable with what both said", err)
	}
}

// Who hangs up without a word may answer later, and may want a certificate.
func TestHangingUp(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){"ends": hangsUp, "resets": resets} {
		t.Run(name, func(t *testing.T) {
			o := odd(t, serve)
			c := clientOf(t, 3)
			_, err := c.StatusOf(t.Context(), o.addr)
			away := (*Unreachable)(nil)
			if !errors.As(err, &away) || !away.HungUp || away.Silent || away.TLS || away.Addr != o.addr {
				t.Fatalf("%v: %+v, want HungUp at the address", err, away)
			}
			if n := o.dials.Load(); n < 2 {
				t.Errorf("dialed %d times, want more", n)
			}
		})
	}
}

// Only what changes something can have been done.
func TestDoubtIsOfChanges(t *testing.T) {
	n := newFakeCell().node(t, "n1")
	n.set(nil, func(*mux.ServerCall) bool { return true })
	const look = "look first whether it was done"
	if _, err := newClient(t, 2, n).Status(t.Context()); wire.CodeOf(err) != wire.CodeUnavailable ||
		strings.Contains(err.Error(), look) {
		t.Errorf("status: %v", err)
	}
	if err := newClient(t, 2, n).SetSetting(t.Context(), "replicas", "3"); wire.CodeOf(err) != wire.CodeUnavailable ||
		!strings.Contains(err.Error(), look) {
		t.Errorf("settings set: %v", err)
	}
}
