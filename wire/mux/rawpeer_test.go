package mux

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"math"
	"net"
	"testing"

	"github.com/datanode/datanode/wire"
)

// rawPeer speaks frames by hand, to say what no Conn would.
type rawPeer struct {
	t  *testing.T
	nc net.Conn
	rd *bufio.Reader
}

func (p *rawPeer) read() wire.Frame {
	p.t.Helper()
	head, err := p.rd.Peek(4)
	if err != nil {
		p.t.Fatal(err)
	}
	b := make([]byte, 4+binary.LittleEndian.Uint32(head))
	if _, err := io.ReadFull(p.rd, b); err != nil {
		p.t.Fatal(err)
	}
	_, f, err := wire.ParseFrame(b)
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}

func (p *rawPeer) write(h wire.Header, body, raw []byte) {
	p.t.Helper()
	p.writeBytes(wire.AppendFrame(nil, &h, body, raw))
}

func (p *rawPeer) writeBytes(b []byte) {
	p.t.Helper()
	if _, err := p.nc.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// hungUp fails unless the other side has closed the connection, and says nothing more, not even to a ping.
func (p *rawPeer) hungUp() {
	p.t.Helper()
	// fails if it has
	_, _ = p.nc.Write(wire.AppendFrame(nil, &wire.Header{Kind: wire.KindPing, ID: math.MaxUint64}, nil, nil))
	if _, err := p.rd.Peek(1); err == nil {
		p.t.Fatalf("got %s, want the connection closed", p.read().Header)
	}
}

// answer responds to a request frame as it should be.
func answer(f wire.Frame) wire.Header {
	return wire.Header{Kind: wire.KindResponse, ID: f.ID, Op: f.Op, Session: f.Session}
}

func rawHello(t *testing.T, h wire.Hello) []byte {
	t.Helper()
	cfg := Config{Hello: h}.withDefaults()
	cfg.Hello.Features = h.Features
	b, err := wire.Marshal(&cfg.Hello)
	if err != nil {
		t.Fatal(err)
	}
	return wire.AppendFrame(nil, &wire.Header{Kind: wire.KindHello}, b, nil)
}

// dialRaw makes a client Conn whose other end is a rawPeer.
func dialRaw(t *testing.T, pair func(*testing.T) (net.Conn, net.Conn), cfg Config) (*Conn, *rawPeer) {
	t.Helper()
	cnc, snc := pair(t)
	p := &rawPeer{t: t, nc: snc, rd: bufio.NewReader(snc)}
	greeted := make(chan struct{})
	go func() {
		defer close(greeted)
		takePreamble(t, snc)
		p.rd.Reset(snc)
		if f := p.read(); f.Kind != wire.KindHello {
			t.Errorf("got %s, want a hello", f.Header)
		}
		p.writeBytes(rawHello(t, wire.Hello{Node: "liar"}))
	}()
	c, err := Client(context.Background(), cnc, cfg)
	<-greeted
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		snc.Close()
	})
	return c, p
}

// acceptRaw makes a server Conn whose other end is a rawPeer.
func acceptRaw(t *testing.T, pair func(*testing.T) (net.Conn, net.Conn), cfg Config) (*Conn, *rawPeer) {
	t.Helper()
	cnc, snc := pair(t)
	p := &rawPeer{t: t, nc: cnc, rd: bufio.NewReader(cnc)}
	greeted := make(chan struct{})
	go func() {
		defer close(greeted)
		p.writeBytes(rawHello(t, wire.Hello{Node: "liar"}))
		p.read()
	}()
	c, err := Server(context.Background(), snc, cfg)
	<-greeted
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		cnc.Close()
	})
	return c, p
}
