package node

import (
	"bufio"
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/datanode/datanode/wire"
)

// redialAfter is how long it takes to replace a hostile connection that the node has ended.
const redialAfter = 100 * time.Millisecond

// addresses are what hostile connections come from, so that the cap for each is not the only one met.
// The honest client has another.
const addresses = 8

// bomb is a way of being hostile on one connection.
type bomb struct {
	name   string
	conns  int  // at a time
	secure bool // to a node that speaks TLS
	bare   bool // before any greeting
	// blow returns when the node has hung up, or all is planted and the connection is to be kept.
	blow  func(h *hostile) error
	keep  bool // having planted, wait until the node hangs up or the siege is over
	pongs bool // the same, and answer pings
	ends  bool // the node must hang up on some
}

// attack is a bomb's connections to a node.
type attack struct {
	bomb
	addr  string       // of the node
	net   byte         // comes from 127.0.net.x
	large wire.Locator // of much to read

	opened, ended atomic.Int64
	planted       sync.WaitGroup
}

// run keeps the connections going until ctx ends. It reports what happens first of each kind.
func (a *attack) run(ctx context.Context, report func(what string)) {
	var done sync.WaitGroup
	a.planted.Add(a.conns)
	hungUp := sync.OnceFunc(func() { report(attackEnded) })
	for n := range a.conns {
		done.Go(func() {
			planted := sync.OnceFunc(a.planted.Done)
			defer planted()
			for ctx.Err() == nil {
				a.once(ctx, n, planted, hungUp)
			}
		})
	}
	a.planted.Wait()
	report(attackPlanted)
	done.Wait()
}

func (a *attack) once(ctx context.Context, n int, planted, hungUp func()) {
	nc, err := a.dial(ctx, n)
	if err != nil {
		return
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	a.opened.Add(1)
	h := &hostile{nc: nc, large: a.large}
	if !a.bare {
		err = h.greet()
	}
	if !a.keep {
		planted()
	}
	if err == nil {
		err = a.blow(h)
	}
	planted()
	switch {
	case err != nil:
	case a.pongs:
		h.pongs()
	case a.keep:
		h.drain()
	}
	if ctx.Err() != nil {
		return
	}
	a.ended.Add(1)
	hungUp()
	select {
	case <-time.After(redialAfter): // the bomb's own pace
	case <-ctx.Done():
	}
}

func (a *attack) dial(ctx context.Context, n int) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, a.net, byte(2+n%addresses))}}
	nc, err := d.DialContext(ctx, "tcp", a.addr)
	if err != nil && ctx.Err() == nil { // a system with one loopback address
		d.LocalAddr = nil
		return d.DialContext(ctx, "tcp", a.addr)
	}
	return nc, err
}

// hostile is one hostile connection.
type hostile struct {
	nc    net.Conn
	large wire.Locator
	id    uint64
}

func (h *hostile) write(b ...[]byte) error {
	_, err := h.nc.Write(slices.Concat(b...))
	return err
}

// drain reads until the node hangs up.
func (h *hostile) drain() { _, _ = io.Copy(io.Discard, h.nc) }

// pongs does nothing but to stay.
func (h *hostile) pongs() {
	for rd := bufio.NewReader(h.nc); ; {
		f, err := h.read(rd)
		if err != nil {
			return
		}
		if f.Kind == wire.KindPing {
			if h.pong(&f.Header) != nil {
				return
			}
		}
	}
}

func (h *hostile) pong(ping *wire.Header) error {
	return h.write(wire.AppendFrame(nil, &wire.Header{Kind: wire.KindPong, ID: ping.ID}, nil, nil))
}

func hostileHello() []byte {
	body, err := wire.Marshal(&wire.Hello{
		Magic: wire.Magic, MinVersion: wire.MinVersion, MaxVersion: wire.Version, MaxFrameBytes: 1 << 30,
		WindowBytes: 1 << 31, SessionWindowBytes: 1 << 31, MaxInFlight: 1 << 31,
	})
	if err != nil {
		panic(err) // it is a constant
	}
	return wire.AppendFrame([]byte{wire.PreambleFrames}, &wire.Header{Kind: wire.KindHello}, body, nil)
}

// greet exchanges hellos.
func (h *hostile) greet() error {
	if err := h.write(hostileHello()); err != nil {
		return err
	}
	_, err := h.read(bufio.NewReaderSize(h.nc, 16)) // no more than the hello has been sent, but for a ping
	return err
}

func (h *hostile) read(rd *bufio.Reader) (wire.Frame, error) {
	head, err := rd.Peek(4)
	if err != nil {
		return wire.Frame{}, err
	}
	size, err := wire.FrameSize(head, 16<<20)
	if err != nil {
		return wire.Frame{}, err
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(rd, b); err != nil {
		return wire.Frame{}, err
	}
	_, f, err := wire.ParseFrame(b)
	return f, err
}
